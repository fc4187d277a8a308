/** What production requires of connections: passwords, logins and TLS. Each problem names a key and contains no value. */

import { environmentName } from './load.ts'
import { mailDirectory } from './mail-section.ts'
import { postgresTlsMode } from './postgres-tls-mode.ts'
import { type UrlParts, urlParameters, urlParts, urlPassword } from './url-keys.ts'

/** Paths of PEM files, or empty. */
interface TlsKey {
  cert?: string
  key?: string
}

/** The parts of the configuration of a service that production checks; each service has some of them. */
export interface ProductionConfig {
  security: { allowPlaintext: boolean }
  rpc?: { ownToken?: string; callers?: string[]; userSvcUrl?: string[]; sessionSvcUrl?: string[]; tls?: TlsKey }
  gateway?: { tls: TlsKey }
  redis?: { topology: string; url: string; nodes: string[]; sentinelPassword: string; tls?: TlsKey }
  kafka?: {
    enabled: boolean
    brokers: string[]
    tls: TlsKey & { enabled: boolean }
    sasl: { mechanism?: string; username?: string; password: string }
  }
  mail?: { url: string; requireTls: boolean }
  userSvc?: { postgres: { url: string; migrationUrl: string } }
}

export const isLoopback = (host: string) => /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/i.test(host)
const hostOf = (authority: string) => authority.replace(/:\d+$/, '')
const isElsewhere = (authority: string) => !isLoopback(hostOf(authority))

/** @returns a problem for each connection that lacks a password, or that other hosts can read or impersonate */
export function insecureConnections(config: ProductionConfig): string[] {
  if (config.security.allowPlaintext) return missingPasswords(config)
  return [...missingPasswords(config), ...missingLogins(config), ...plaintextProblems(config)]
}

/** The URLs of PostgreSQL that are set, by path. */
export function postgresUrls({ userSvc }: ProductionConfig): [path: string, url: string][] {
  return Object.entries({
    'userSvc.postgres.url': userSvc?.postgres.url ?? '',
    'userSvc.postgres.migrationUrl': userSvc?.postgres.migrationUrl ?? ''
  }).filter(([, url]) => url !== '')
}

export function postgresParts(url: string) {
  const parts = urlParts(url) as UrlParts
  const parameters = new Map(urlParameters(parts))
  return { parameters, host: parameters.get('host') || decodeURIComponent(hostOf(parts.hosts)) }
}

const hasLogin = ({ mechanism = 'none' }: { mechanism?: string }) => mechanism !== 'none'

/** Connections that always need a password. */
function missingPasswords(config: ProductionConfig): string[] {
  const { redis, kafka } = config
  const missing = [
    ...(redis && urlPassword.in(redis.url).length === 0 ? ['redis.url'] : []),
    ...(kafka?.enabled && hasLogin(kafka.sasl) && kafka.sasl.password === '' ? ['kafka.sasl.password'] : []),
    ...postgresUrls(config).flatMap(([path, url]) => (lacksPassword(url) ? [path] : []))
  ]
  return missing.map((path) => `${path}: has no password, which production requires (${environmentName(path)})`)
}

/** A socket of the machine and a client certificate identify the service without a password. */
function lacksPassword(url: string): boolean {
  const { parameters, host } = postgresParts(url)
  const hasCertificate = parameters.get('sslcert') && postgresTlsMode(parameters) !== 'disable'
  return !host.startsWith('/') && !hasCertificate && urlPassword.in(url).length === 0
}

/** Connections to other hosts that need a login or a client certificate. */
function missingLogins({ redis, kafka }: ProductionConfig): string[] {
  const remedy = 'or security.allowPlaintext for a private network'
  const lacksLogin = kafka?.enabled && !hasLogin(kafka.sasl) && !kafka.tls.cert
  const lacksSentinelPassword = redis?.topology === 'sentinel' && redis.sentinelPassword === '' && !redis.tls?.cert
  return [
    ...(lacksLogin && kafka.brokers.some(isElsewhere)
      ? [
          `kafka.sasl.mechanism: is none for brokers on another host, production takes a login, kafka.tls.cert, ${remedy} (KAFKA_SASL_MECHANISM)`
        ]
      : []),
    ...(lacksSentinelPassword && redis.nodes.some(isElsewhere)
      ? [
          `redis.sentinelPassword: is missing for Sentinels on another host, production takes a password, redis.tls.cert, ${remedy} (REDIS_SENTINEL_PASSWORD)`
        ]
      : [])
  ]
}

function plaintextProblems(config: ProductionConfig): string[] {
  const { rpc, redis, kafka, mail } = config
  const problems: string[] = []
  const refuse = (path: string, remedy: string) =>
    problems.push(
      `${path}: is a plaintext connection to another host, production takes ${remedy}, or security.allowPlaintext for a private network (${environmentName(path)})`
    )
  for (const [path, urls = []] of [
    ['rpc.userSvcUrl', rpc?.userSvcUrl],
    ['rpc.sessionSvcUrl', rpc?.sessionSvcUrl]
  ] as const) {
    if (urls.map(urlParts).some((url) => url?.scheme === 'http' && isElsewhere(url.hosts))) refuse(path, 'https://')
  }
  if (redis) {
    const hosts = redis.topology === 'single' ? [urlParts(redis.url)?.hosts ?? ''] : redis.nodes
    if (urlParts(redis.url)?.scheme !== 'rediss' && hosts.some(isElsewhere)) refuse('redis.url', 'rediss://')
  }
  if (kafka?.enabled && !kafka.tls.enabled && kafka.brokers.some(isElsewhere)) {
    refuse('kafka.brokers', 'kafka.tls.enabled')
  }
  for (const [path, url] of postgresUrls(config)) {
    if (!isVerified(url)) refuse(path, 'sslmode=verify-full')
  }
  const smtp = mail && mailDirectory(mail.url) === undefined ? urlParts(mail.url) : undefined
  if (smtp && mail && !mail.requireTls && isElsewhere(smtp.hosts)) refuse('mail.url', 'mail.requireTls')
  return problems
}

function isVerified(url: string): boolean {
  const { host, parameters } = postgresParts(url)
  if (host.startsWith('/') || isLoopback(host)) return true
  return ['verify-ca', 'verify-full'].includes(postgresTlsMode(parameters))
}
