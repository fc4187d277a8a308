/** The table of addresses that `make run` prints when the stack is ready. */

import { join, relative } from 'node:path'
import { mailDirectory } from '#common/config/mail-section.ts'
import type { Config } from './config.ts'
import type { Engines } from './engines.ts'
import { type Instance, portKey } from './instances.ts'
import { mailUrl } from './mail-settings.ts'
import { playgroundUrl } from './playground-url.ts'
import { authority, httpScheme } from './services.ts'

type Row = [name: string, address: string, description: string]

/** The table, one aligned line for each address. It shows only the scheme of a configured URL. */
export function addressTable(
  config: Config,
  instances: Instance[],
  ports: ReadonlyMap<string, number>,
  engines: Engines,
  dataDir: string
): string {
  const file = (name: string) => relative(process.cwd(), join(dataDir, name)) || '.'
  const rows = [
    ...instances.flatMap((instance) => serviceRows(instance, config, ports)),
    ['postgres', shownUrl(engines.postgres.service, config.userSvc.postgres.url), 'PostgreSQL'],
    [
      'redis',
      redisAddress(config, engines),
      config.redis.topology === 'single' ? 'Redis' : `Redis (${config.redis.topology})`
    ],
    ...(config.kafka.enabled
      ? [['kafka', engines.kafkaBrokers.join(',') || '-', engines.kafkaBrokers.length > 0 ? 'Kafka' : 'no Kafka']]
      : [['logs', file('spool/'), 'logs, shown by make logs']]),
    ...mailRows(config),
    ['output', file('run/'), 'output of each process, <name>.log'],
    ['validation token', file('validation-token'), 'credential of applications, to validate sessions by RPC'],
    ['rpc token', file('rpc-token'), 'credential for all calls but administration'],
    ['admin token', file('admin-token'), 'credential of operators, for admin.v1.AdminService']
  ] as Row[]
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length))
  const [first, second] = [width(0), width(1)]
  return rows
    .map(([name, address, description]) => `${name.padEnd(first)}  ${address.padEnd(second)}  ${description}`)
    .join('\n')
}

function serviceRows(instance: Instance, config: Config, ports: ReadonlyMap<string, number>): Row[] {
  const { section, name } = instance
  const ops = `http://${authority(config[section].opsHost, ports.get(portKey(instance, 'opsPort')))}`
  const opsRow: Row = [name, ops, 'ops: /livez /readyz /metrics']
  if (section === 'logSink') return [opsRow]
  const own = authority(config[section].host, ports.get(portKey(instance, 'port')))
  if (section !== 'gateway') {
    const transport = httpScheme(config.rpc.tls) === 'https' ? 'TLS' : 'HTTP/2 cleartext'
    return [[name, own, `gRPC, gRPC-Web and Connect (${transport})`], opsRow]
  }
  const rest = `${httpScheme(config.gateway.tls)}://${own}`
  const docs: Row[] = [
    [name, playgroundUrl(config, ports.get(portKey(instance, 'port'))), 'page to try the product'],
    [name, `${rest}/docs`, 'Swagger UI'],
    [name, `${rest}/openapi.json`, 'OpenAPI 3.1']
  ]
  return [[name, rest, 'REST'], ...(config.gateway.docs ? docs : []), opsRow]
}

function mailRows(config: Config): Row[] {
  const url = mailUrl(config)
  const directory = mailDirectory(url)
  if (directory !== undefined) return [['mail', `${directory}/`, 'emails, shown by make mail']]
  return url === '' ? [] : [['mail', shownUrl(url, url), 'mail server']]
}

function redisAddress({ redis }: Config, engines: Engines): string {
  return redis.topology === 'single' ? shownUrl(engines.redis.admin, redis.url) : redis.nodes.join(',')
}

/** The address of an engine that `make run` started, or the scheme of a configured one. */
function shownUrl(address: string, configured: string): string {
  if (configured !== '') return `${configured.slice(0, configured.indexOf(':'))}://...`
  const { protocol, host, pathname } = new URL(address)
  return `${protocol}//${host}${pathname}`
}
