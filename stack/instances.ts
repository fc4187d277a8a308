/** How many processes of each service are run, what they are called, and where each listens. */

import { ConfigError, environmentName } from '#common/config/load.ts'
import type { Config } from './config.ts'
import type { runVariables } from './make-variables.ts'
import type { WantedPort } from './ports.ts'
import { type Service, services } from './services.ts'

/** One process of a service. */
export interface Instance extends Service {
  /** The first has the name and the ports of the service; the second is `gateway 2` and has the next free ports. */
  number: number
}

const most = 32
const variables = {
  gateway: 'GATEWAYS',
  userSvc: 'USER_SVCS',
  sessionSvc: 'SESSION_SVCS',
  logSink: 'LOG_SINKS'
} as const satisfies Record<string, (typeof runVariables)[number]>

/**
 * The processes that the environment asks for, `GATEWAYS=2` for example, in the order in which they are started.
 *
 * @param usesKafka without Kafka there is nothing for log-sink to collect
 * @throws {ConfigError} for a number that is none
 */
export function wantedInstances(usesKafka: boolean, environment: NodeJS.ProcessEnv = process.env): Instance[] {
  return services.flatMap((service) => {
    const count = countOf(variables[service.section], environment)
    if (service.section === 'logSink' && !usesKafka) return []
    return Array.from({ length: count }, (_, index) => ({
      ...service,
      name: index === 0 ? service.name : `${service.name} ${index + 1}`,
      number: index + 1
    }))
  })
}

/**
 * Whether Kafka is used: `KAFKA=off` on the command line is `kafka.enabled: false` for one run.
 *
 * @throws {ConfigError} for another value, and for one that contradicts `KAFKA_ENABLED`
 */
export function usesKafka(enabled: boolean, environment: NodeJS.ProcessEnv = process.env): boolean {
  const { KAFKA = '', KAFKA_ENABLED } = environment
  if (KAFKA === '') return enabled
  if (KAFKA !== 'on' && KAFKA !== 'off') throw new ConfigError(`KAFKA: got ${JSON.stringify(KAFKA)}, takes on or off`)
  const wanted = KAFKA === 'on'
  if (KAFKA_ENABLED !== undefined && enabled !== wanted) {
    throw new ConfigError(`KAFKA: got ${JSON.stringify(KAFKA)}, which contradicts KAFKA_ENABLED=${KAFKA_ENABLED}`)
  }
  return wanted
}

function countOf(variable: string, environment: NodeJS.ProcessEnv): number {
  const written = environment[variable] || '1'
  const count = /^\d{1,2}$/.test(written) ? Number(written) : 0
  if (count >= 1 && count <= most) return count
  throw new ConfigError(`${variable}: got ${JSON.stringify(written)}, takes a whole number from 1 to ${most}`)
}

/** The name under which a port of an instance is kept: its configuration key, and which instance it is if not the first. */
export function portKey({ section, number }: Instance, name: 'port' | 'opsPort'): string {
  return `${section}.${name}${number > 1 ? ` of instance ${number}` : ''}`
}

/** The ports that an instance listens on. */
export function instancePorts(instance: Instance, config: Config): WantedPort[] {
  const { opsHost, opsPort, ...own } = config[instance.section]
  const orNext = instance.number > 1
  const ops = { key: portKey(instance, 'opsPort'), host: opsHost, port: opsPort, orNext }
  return 'port' in own ? [{ key: portKey(instance, 'port'), host: own.host, port: own.port, orNext }, ops] : [ops]
}

/** What an instance reads beside what all services do: its own ports, and what tells it from the others. */
export function instanceEnvironment(
  instance: Instance,
  config: Config,
  ports: ReadonlyMap<string, number>
): NodeJS.ProcessEnv {
  const { section, number } = instance
  const own = (['port', 'opsPort'] as const).flatMap((name) => {
    const port = ports.get(portKey(instance, name))
    return port === undefined ? [] : [[environmentName(`${section}.${name}`), String(port)]]
  })
  const name = section === 'logSink' && number > 1 ? { LOG_SINK_NAME: `${config.logSink.name}-${number}` } : {}
  return { ...Object.fromEntries(own), ...name }
}
