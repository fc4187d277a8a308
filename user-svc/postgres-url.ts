/**
 * Parses a URL of PostgreSQL as libpq, providers and Prisma write it, into explicit options of node-postgres: the driver's
 * own parser sends unknown parameters to the server as settings, and completes an address from PG* variables.
 */

import type { ClientConfig } from 'pg'
import { ConfigError } from '#common/config/load.ts'
import { postgresTlsMode } from '#common/config/postgres-tls-mode.ts'
import { isAuthority, type UrlParts, urlLogin, urlParameters, urlParts } from '#common/config/url-keys.ts'
import { clientTls } from '#common/tls/client-options.ts'
import { PemError, type PemFiles } from '#common/tls/pem-source.ts'

/** The address of a PostgreSQL, as options of node-postgres. */
type PostgresAddress = Required<Pick<ClientConfig, 'host' | 'port' | 'user' | 'password' | 'database' | 'ssl'>> &
  Pick<ClientConfig, 'application_name' | 'options'> & {
    enableChannelBinding?: boolean
    sslnegotiation?: 'postgres' | 'direct'
  }

const any = /^/
// libpq ignores an empty one, and with it what its author wanted to check.
const path = /./
/** Parameters that change a connection, and their accepted values. */
const used: Record<string, RegExp> = {
  host: any,
  port: /^\d{1,5}$/,
  user: any,
  password: any,
  dbname: any,
  application_name: any,
  options: any,
  sslmode: /^(disable|require|no-verify|verify-ca|verify-full)$/,
  ssl: /^(true|false|0|1|no-verify)$/,
  sslrootcert: path,
  sslcert: path,
  sslkey: path,
  sslnegotiation: /^(postgres|direct)$/,
  channel_binding: /^(disable|prefer|require)$/
}
const anyValue = (...names: string[]) => Object.fromEntries(names.map((name) => [name, any]))
/** Parameters without effect here, with the values for which that is true. */
const ignored: Record<string, RegExp> = {
  // libpq: the product has its own deadlines and keep-alive.
  ...anyValue('connect_timeout', 'keepalives', 'keepalives_idle', 'keepalives_interval', 'keepalives_count'),
  ...anyValue('tcp_user_timeout', 'fallback_application_name', 'sslcompression', 'sslsni', 'load_balance_hosts'),
  client_encoding: /^(auto|utf-?8)$/i,
  gssencmode: /^(disable|prefer)$/,
  target_session_attrs: /^(any|read-write|primary)$/,
  // Prisma and JDBC: limits and caches of their own clients.
  schema: /^public$/,
  sslaccept: /^accept_invalid_certs$/,
  ...anyValue('pgbouncer', 'connection_limit', 'pool_timeout', 'socket_timeout', 'statement_cache_size', 'pool_mode'),
  ...anyValue('max_idle_connection_lifetime', 'prepareThreshold', 'prepared_statements', 'single_use_connections'),
  // node-postgres, and Supabase's integration for Vercel.
  ...anyValue('uselibpqcompat', 'supa', 'workaround')
}
/** Parameters that are rejected by name: they are documented words and no part of a password. */
const unsupported =
  'service passfile sslpassword sslcrl requirepeer krbsrvname hostaddr replication sslidentity statement_timeout search_path currentSchema timezone require_auth ssl_min_protocol_version db'.split(
    ' '
  )
const remedies: Record<string, string> = {
  port: 'takes a port from 1 to 65535',
  client_encoding: 'takes UTF8',
  schema: 'takes public; name another schema with options=-c%20search_path%3D<schema>',
  sslmode: 'takes disable, require, verify-ca or verify-full; TLS that the server may decline protects nothing',
  sslrootcert: 'takes a file or system',
  sslcert: 'takes a file',
  sslkey: 'takes a file',
  target_session_attrs: 'takes any, read-write or primary',
  sslaccept: 'is not supported, write sslmode=verify-full'
}

/** Rejects a URL. The message contains documented words only; the caller names the key. */
function reject(problem: string): never {
  throw new ConfigError(problem)
}

function parametersOf(parts: UrlParts): Map<string, string> {
  const parameters = new Map<string, string>()
  for (const [name, value] of urlParameters(parts)) {
    const accepted = Object.hasOwn(used, name) ? used[name] : Object.hasOwn(ignored, name) ? ignored[name] : undefined
    if (accepted === undefined) {
      const shown = unsupported.includes(name) ? `the parameter ${name}` : 'an unknown parameter (not shown)'
      reject(`has ${shown}, takes ${Object.keys(used).join(', ')}`)
    }
    if (parameters.has(name)) reject(`has the parameter ${name} twice`)
    if (!accepted.test(value)) reject(`parameter ${name} ${remedies[name] ?? takes(accepted)}`)
    parameters.set(name, value)
  }
  return parameters
}

/** The words of a pattern such as `^(disable|require)$`. */
const takes = ({ source }: RegExp) => `takes ${source.replace(/^\^\(?(.*?)\)?\$$/, '$1').replaceAll('|', ', ')}`

function pemFilesOf(parameters: ReadonlyMap<string, string>): PemFiles {
  const root = parameters.get('sslrootcert') ?? ''
  return {
    ca: root === 'system' ? '' : root,
    cert: parameters.get('sslcert') ?? '',
    key: parameters.get('sslkey') ?? ''
  }
}

/** The parameter that names a file. */
export function pemParameter(kind: keyof PemFiles): string {
  return { ca: 'sslrootcert', cert: 'sslcert', key: 'sslkey', crl: 'sslcrl' }[kind]
}

/** The PEM files that a URL names. */
export function postgresPemFiles(url: string): PemFiles {
  const parts = urlParts(url)
  return parts === undefined ? {} : pemFilesOf(parametersOf(parts))
}

/** TLS options whose getters read the files again: node-postgres copies the options for each connection. */
function reread(files: PemFiles): PemFiles {
  let options: ReturnType<typeof clientTls>
  try {
    options = clientTls(files, pemParameter)
  } catch (error) {
    if (error instanceof PemError) return reject(`parameter ${error.message}`)
    throw error
  }
  const getter = (kind: 'ca' | 'cert' | 'key') => ({
    enumerable: true,
    configurable: true,
    get: () => options()[kind]
  })
  const kinds = (['ca', 'cert', 'key'] as const).filter((kind) => files[kind])
  return Object.defineProperties({}, Object.fromEntries(kinds.map((kind) => [kind, getter(kind)])))
}

function tlsOf(parameters: ReadonlyMap<string, string>): PostgresAddress['ssl'] {
  if (parameters.get('sslmode') === 'verify-ca' && !parameters.has('sslrootcert')) {
    reject('parameter sslmode=verify-ca takes sslrootcert with it')
  }
  const mode = postgresTlsMode(parameters)
  if (mode === 'disable') return false
  // Not a spread, which would read the files once.
  return Object.assign(reread(pemFilesOf(parameters)), {
    ...(mode === 'require' && { rejectUnauthorized: false }),
    ...(mode === 'verify-ca' && { checkServerIdentity: () => undefined })
  })
}

/**
 * The options of node-postgres for a URL.
 *
 * @throws {ConfigError} for an unusable URL; of the URL, the message contains documented words only
 */
export function postgresAddress(url: string): PostgresAddress {
  const parts = urlParts(url) ?? reject('cannot be read')
  const parameters = parametersOf(parts)
  const text = (name: string) => parameters.get(name) ?? ''
  if (parts.hosts.includes(',') || text('host').includes(',')) reject('names several hosts, takes one')
  const [, urlHost = '', urlPort = ''] = /^(\[.*\]|[^:]*)(?::(\d*))?$/.exec(parts.hosts) ?? []
  const host = text('host') || decodeURIComponent(urlHost).replace(/^\[(.*)\]$/, '$1')
  const isSocket = host.startsWith('/')
  if (host === '') reject('names no host')
  if (!isSocket && !isAuthority(host.includes(':') ? `[${host.replace('%', '%25')}]` : host))
    reject('names no valid host')
  const port = Number(text('port') || urlPort || 5432)
  if (port < 1 || port > 65_535) reject('has no valid port')
  const { user, password } = urlLogin(url)
  if (user === '') reject('names no user')
  const database = decodeURIComponent(parts.path.slice(1)) || text('dbname') || user
  const [name, options, binding, negotiation] = [
    'application_name',
    'options',
    'channel_binding',
    'sslnegotiation'
  ].map(text)
  return {
    host,
    port,
    user,
    // A function, or the driver would replace an empty password by one from ~/.pgpass.
    password: () => password,
    database,
    ssl: isSocket ? false : tlsOf(parameters),
    ...(name && { application_name: name }),
    ...(options && { options }),
    ...(binding === 'require' && { enableChannelBinding: true }),
    ...(negotiation && { sslnegotiation: negotiation as 'postgres' | 'direct' })
  }
}

/** Rejects `PGSSLMODE` beside a URL without TLS parameters: its author expects encrypted connections. */
export function requireTlsInUrl(url: string, { PGSSLMODE = '' }: NodeJS.ProcessEnv): void {
  if (url === '' || !/^(require|verify-ca|verify-full)$/.test(PGSSLMODE) || /[?&]ssl(mode)?=/.test(url)) return
  throw new ConfigError(
    `PGSSLMODE: variables of libpq have no effect, write sslmode=${PGSSLMODE} into the URL of PostgreSQL`
  )
}
