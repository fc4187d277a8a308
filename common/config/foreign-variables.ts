/**
 * Environment variables that belong to other programs but start like variables of the product.
 * docs/reference/configuration.md lists them.
 */

import { isIP } from 'node:net'

/** Exact names, by the program that reads them. */
export const foreignVariables: Record<string, readonly string[]> = {
  // bin/kafka-run-class.sh and the image apache/kafka
  'Apache Kafka': [
    ...['KAFKA_OPTS', 'KAFKA_HEAP_OPTS', 'KAFKA_JVM_PERFORMANCE_OPTS', 'KAFKA_GC_LOG_OPTS', 'KAFKA_LOG4J_OPTS'],
    ...['KAFKA_JMX_OPTS', 'KAFKA_DEBUG', 'KAFKA_HOME', 'KAFKA_VERSION', 'LOG_DIR']
  ],
  // The image redis
  Redis: ['REDIS_VERSION', 'REDIS_DOWNLOAD_URL', 'REDIS_DOWNLOAD_SHA'],
  // crontab(5) of cronie
  cron: ['MAILFROM'],
  // X session management
  'desktop sessions': ['SESSION_MANAGER'],
  // RFC 3875
  CGI: ['GATEWAY_INTERFACE'],
  'Haskell Stack': ['STACK_ROOT', 'STACK_YAML', 'STACK_WORK', 'STACK_XDG']
}

const exact = new Set(Object.values(foreignVariables).flat())

/** Whether a variable belongs to another program: one of the names above, or a service link of Kubernetes or Docker. */
export function isForeign(name: string, environment: NodeJS.ProcessEnv): boolean {
  return exact.has(name) || isServiceLink(name, environment)
}

const address = /^(tcp|udp|sctp):\/\/\S+:\d{1,5}$/

/**
 * Whether a variable is a service link, as Kubernetes (`enableServiceLinks`) and Docker (`--link`) set it for a service.
 * Name and value must have the form of a link, so that misspelt keys are found: `GATEWAY_PORT=tcp://10.0.0.1:8080` is a
 * link, `GATEWAY_PORT=8080` is the key `gateway.port`.
 */
export function isServiceLink(name: string, environment: NodeJS.ProcessEnv): boolean {
  const value = environment[name] ?? ''
  if (name.endsWith('_SERVICE_HOST')) return isIP(value) !== 0
  const service = /^(.+)_SERVICE_PORT(_\w+)?$/.exec(name)?.[1]
  if (service !== undefined && isServiceLink(`${service}_SERVICE_HOST`, environment)) return /^\d{1,5}$/.test(value)
  const [, part] = /_PORT_\d{1,5}_(?:TCP|UDP|SCTP)(?:_(PROTO|PORT|ADDR))?$/.exec(name) ?? [undefined, 'none']
  if (part === 'PROTO') return /^(tcp|udp|sctp)$/.test(value)
  if (part === 'PORT') return /^\d{1,5}$/.test(value)
  if (part === 'ADDR') return isIP(value) !== 0
  return (part === undefined || name.endsWith('_PORT')) && address.test(value)
}
