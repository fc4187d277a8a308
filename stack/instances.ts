/** The processes of each service: their number, names, ports and environment. */

import { ConfigError, environmentName } from '#common/config/load.ts'
import type { Config } from './config.ts'
import type { runVariables } from './make-variables.ts'
import type { WantedPort } from './port-check.ts'
import { type Service, services } from './services.ts'

/** One process of a service. */
export interface Instance extends Service {
  /** From 1. The first has the name and the ports of the service; the second is `gateway 2` on the next free ports. */
  number: number
}

const maxInstances = 32
const variables = {
  gateway: 'GATEWAYS',
  userSvc: 'USER_SVCS',
  sessionSvc: 'SESSION_SVCS',
  logSink: 'LOG_SINKS'
} as const satisfies Record<string, (typeof runVariables)[number]>

/**
 * The processes that the environment requests, such as `GATEWAYS=2`, in the order in which they start.
 *
 * @param usesKafka without Kafka, log-sink does not run
 * @throws {ConfigError} for an invalid number
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
 * Whether Kafka is used: `KAFKA=off` on the command line overrides `kafka.enabled` for one run.
 *
 * @throws {ConfigError} for another value than `on` and `off`
 */
export function usesKafka(enabled: boolean, environment: NodeJS.ProcessEnv = process.env): boolean {
  const { KAFKA = '' } = environment
  if (KAFKA === '') return enabled
  if (KAFKA !== 'on' && KAFKA !== 'off') throw new ConfigError(`KAFKA: must be on or off, got ${JSON.stringify(KAFKA)}`)
  return KAFKA === 'on'
}

function countOf(variable: string, environment: NodeJS.ProcessEnv): number {
  const value = environment[variable] || '1'
  const count = /^\d{1,2}$/.test(value) ? Number(value) : 0
  if (count >= 1 && count <= maxInstances) return count
  throw new ConfigError(`${variable}: must be a whole number from 1 to ${maxInstances}, got ${JSON.stringify(value)}`)
}

/** Names a port of an instance: its configuration key, and the number of the instance unless it is the first. */
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

/** The environment that differs between instances: the ports, and the name of a log-sink. */
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
