/**
 * What production refuses (`NODE_ENV=production`): secrets that are missing, short, samples or repeated, and plaintext
 * connections to other hosts. Each problem names a key and contains no value.
 */

import { ConfigError, environmentName } from './load.ts'
import { mailDirectory } from './mail-section.ts'
import { repeatedSecrets, type TlsKeyFiles } from './repeated-secrets.ts'
import { keyProblem, sampleProblem } from './secret-samples.ts'
import { type UrlParts, urlParts } from './url-keys.ts'

interface TlsKey {
  /** The path of a PEM file, or empty. */
  key?: string
}

/** The parts of the configuration of a service that production checks; each service has some of them. */
export interface ProductionConfig {
  security: { allowPlaintext: boolean }
  rpc?: Partial<Record<'token' | 'previousToken' | 'adminToken' | 'previousAdminToken', string>> & {
    userSvcUrl?: string[]
    sessionSvcUrl?: string[]
    tls?: TlsKey
  }
  gateway?: { tls: TlsKey }
  redis?: { topology: string; url: string; nodes: string[]; sentinelPassword: string; tls?: TlsKey }
  kafka?: { enabled: boolean; brokers: string[]; tls: TlsKey & { enabled: boolean }; sasl: { password: string } }
  mail?: { url: string; requireTls: boolean; keys: string[] }
  postgresUrls?: Record<string, string>
  /** Lists of `name:base64`, by path. */
  keys?: Record<string, string[]>
}

const minPasswordLength = 12

export const isLoopback = (host: string) => /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/i.test(host)
const hostOf = (authority: string) => authority.replace(/:\d+$/, '')

/** @throws {ConfigError} with all problems */
export function requireProduction(config: ProductionConfig, environment: NodeJS.ProcessEnv = process.env): void {
  if (environment.NODE_ENV !== 'production') return
  const problems = [
    ...passwordProblems(config),
    ...Object.entries({ ...config.keys, ...(config.mail && { 'mail.keys': config.mail.keys }) }).flatMap(
      keyListProblems
    ),
    ...repeatedSecrets(allSecrets(config), tlsKeyFiles(config)),
    ...(config.security.allowPlaintext ? [] : plaintextProblems(config))
  ]
  if (problems.length > 0) throw new ConfigError(problems.join('\n'))
}

function keyListProblems([path, entries]: [path: string, entries: string[]]): string[] {
  return entries.flatMap((entry) => {
    const [name, base64 = ''] = entry.split(':')
    const problem = keyProblem(base64)
    return problem ? [`${path}: the key ${name} ${problem}; takes the output of openssl rand -base64 32`] : []
  })
}

/** The passwords of addresses and logins, by path. Undefined: the connection needs none. */
function passwords({
  redis,
  kafka,
  mail,
  postgresUrls
}: ProductionConfig): [path: string, password: string | undefined][] {
  const mailPassword = mail && urlParts(mail.url)?.password
  return [
    ...(redis ? [['redis.url', passwordOf(redis.url)] as [string, string]] : []),
    ...(redis?.sentinelPassword ? [['redis.sentinelPassword', redis.sentinelPassword] as [string, string]] : []),
    ...(kafka?.sasl.password ? [['kafka.sasl.password', kafka.sasl.password] as [string, string]] : []),
    ...(mailPassword ? [['mail.url', decodeURIComponent(mailPassword)] as [string, string]] : []),
    ...Object.entries(postgresUrls ?? {})
      .filter(([, url]) => url !== '')
      .map(([path, url]): [string, string | undefined] => [path, postgresPassword(url)])
  ]
}

const passwordOf = (url: string) => decodeURIComponent(urlParts(url)?.password ?? '')

/** A socket of the machine and a client certificate identify the service without a password. */
function postgresPassword(url: string): string | undefined {
  const { password, parameters, host } = postgresParts(url)
  if (host.startsWith('/') || parameters.has('sslcert')) return undefined
  return password || (parameters.get('password') ?? '')
}

function postgresParts(url: string) {
  const { password, hosts, query } = urlParts(url) as UrlParts
  const parameters = new URLSearchParams(query)
  return {
    password: decodeURIComponent(password),
    parameters,
    host: parameters.get('host') || decodeURIComponent(hostOf(hosts))
  }
}

function passwordProblems(config: ProductionConfig): string[] {
  return passwords(config).flatMap(([path, password]) => {
    if (password === undefined) return []
    const problem =
      password === ''
        ? 'has no password, which production requires'
        : password.length < minPasswordLength
          ? `has a password of fewer than ${minPasswordLength} characters, which production does not allow`
          : sampleProblem(password) && 'has a sample password, which production does not allow'
    return problem ? [`${path}: ${problem} (${environmentName(path)})`] : []
  })
}

function allSecrets(config: ProductionConfig): [path: string, value: string | undefined][] {
  const { token, previousToken, adminToken, previousAdminToken } = config.rpc ?? {}
  const keys = Object.entries({ ...config.keys, ...(config.mail && { 'mail.keys': config.mail.keys }) })
  return [
    ['rpc.token', token],
    ['rpc.previousToken', previousToken],
    ['rpc.adminToken', adminToken],
    ['rpc.previousAdminToken', previousAdminToken],
    ...passwords(config).filter(([path]) => path !== 'userSvc.postgres.migrationUrl'),
    ...keys.flatMap(([path, entries]) => entries.map((entry): [string, string] => [path, entry.split(':')[1] ?? '']))
  ]
}

/** The files of the private keys of certificates: of the REST routes, and of the service as a client and on its RPC port. */
function tlsKeyFiles({ gateway, rpc, redis, kafka, postgresUrls = {} }: ProductionConfig): TlsKeyFiles {
  return {
    server: { 'gateway.tls.key': gateway?.tls.key },
    identity: {
      'rpc.tls.key': rpc?.tls?.key,
      'redis.tls.key': redis?.tls?.key,
      'kafka.tls.key': kafka?.tls.key,
      ...Object.fromEntries(
        Object.entries(postgresUrls).map(([path, url]) => [
          path,
          url === '' ? undefined : (postgresParts(url).parameters.get('sslkey') ?? undefined)
        ])
      )
    }
  }
}

function plaintextProblems({ rpc, redis, kafka, mail, postgresUrls = {} }: ProductionConfig): string[] {
  const problems: string[] = []
  const refuse = (path: string, remedy: string) =>
    problems.push(
      `${path}: is a plaintext connection to another host, production takes ${remedy}, or security.allowPlaintext for a private network (${environmentName(path)})`
    )
  for (const [path, urls = []] of [
    ['rpc.userSvcUrl', rpc?.userSvcUrl],
    ['rpc.sessionSvcUrl', rpc?.sessionSvcUrl]
  ] as const) {
    if (urls.map(urlParts).some((url) => url?.scheme === 'http' && !isLoopback(hostOf(url.hosts))))
      refuse(path, 'https://')
  }
  if (redis) {
    const hosts = redis.topology === 'single' ? [urlParts(redis.url)?.hosts ?? ''] : redis.nodes
    if (urlParts(redis.url)?.scheme !== 'rediss' && hosts.some((host) => !isLoopback(hostOf(host))))
      refuse('redis.url', 'rediss://')
  }
  if (kafka?.enabled && !kafka.tls.enabled && kafka.brokers.some((broker) => !isLoopback(hostOf(broker)))) {
    refuse('kafka.brokers', 'kafka.tls.enabled')
  }
  for (const [path, url] of Object.entries(postgresUrls)) {
    if (url !== '' && !isVerified(url)) refuse(path, 'sslmode=verify-full')
  }
  const smtp = mail && mailDirectory(mail.url) === undefined ? urlParts(mail.url) : undefined
  if (smtp && mail && !mail.requireTls && !isLoopback(hostOf(smtp.hosts))) refuse('mail.url', 'mail.requireTls')
  return problems
}

function isVerified(url: string): boolean {
  const { host, parameters } = postgresParts(url)
  if (host.startsWith('/') || isLoopback(host)) return true
  const mode = parameters.get('sslmode')
  const hasRoot = parameters.has('sslrootcert')
  // As libpq: a root certificate implies verification.
  return mode === 'verify-full' || mode === 'verify-ca' || (hasRoot && (mode ?? 'require') === 'require')
}

/** @throws {ConfigError} in production, if reflection is on an address that other machines reach */
export function requireHiddenReflection(reflection: boolean, host: string, environment = process.env): void {
  if (environment.NODE_ENV !== 'production' || !reflection || isLoopback(host)) return
  throw new ConfigError(
    `rpc.reflection: got true on ${host}, production takes it on a loopback address only (RPC_REFLECTION)`
  )
}
