/**
 * What production refuses (`NODE_ENV=production`): secrets that are missing, short, samples or repeated, and plaintext
 * connections to other hosts. Each problem names a key and contains no value.
 */

import { isDeepStrictEqual } from 'node:util'
import { methodsOfRole, parseCaller, type Role } from '#common/rpc/callers.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { insecureConnections, isLoopback, type ProductionConfig, postgresParts, postgresUrls } from './connections.ts'
import { ConfigError, type Schema } from './load.ts'
import { repeatedSecrets, type TlsKeyFiles } from './repeated-secrets.ts'
import { sensitiveValues } from './secret-values.ts'
import { urlLogin } from './url-keys.ts'
import { weakSecrets } from './weak-secrets.ts'

/** What a service checks of its configuration. */
interface ProductionCheck {
  /** The schema of the configuration, which finds its secrets. */
  schema: Schema
  /** The role of the service as a caller of others. Undefined: it calls none. */
  role?: Role
  environment?: NodeJS.ProcessEnv
}

/** @throws {ConfigError} with all problems */
export function requireProduction(
  config: ProductionConfig,
  { schema, role, environment = process.env }: ProductionCheck
): void {
  if (environment.NODE_ENV !== 'production') return
  const problems = [
    ...weakSecrets(schema, config),
    ...repeatedSecrets(comparedSecrets(schema, config, role), tlsKeyFiles(config)),
    ...insecureConnections(config)
  ]
  if (problems.length > 0) throw new ConfigError(problems.join('\n'))
}

/** All secrets, by path, without those that have one purpose in two places. */
function comparedSecrets(schema: Schema, config: ProductionConfig, role: Role | undefined): [string, string][] {
  const { ownToken = '', callers = [] } = config.rpc ?? {}
  const { url = '', migrationUrl = '' } = config.userSvc?.postgres ?? {}
  const isSameLogin = isDeepStrictEqual(urlLogin(url), urlLogin(migrationUrl))
  return sensitiveValues(schema, config).flatMap(({ path, secrets }) => {
    if (path === 'userSvc.postgres.migrationUrl' && isSameLogin) return []
    const isOwn = (secret: string) =>
      path === 'rpc.callers' && secret === ownToken && isOwnEntry(callers, ownToken, role)
    return secrets.filter((secret) => !isOwn(secret)).map((secret): [string, string] => [path, secret])
  })
}

/** Whether the callers list this service itself: with the token that it presents, and all that it calls. */
function isOwnEntry(entries: readonly string[], ownToken: string, role: Role | undefined): boolean {
  // The service presents no token.
  if (role === undefined) return true
  const entry = entries.find((each) => each.split(':')[1] === ownToken) ?? ''
  try {
    return methodsOfRole(role, SessionService).every(parseCaller(entry).permits)
  } catch {
    // Only the services that accept callers check the entries.
    return false
  }
}

/** The files of the private keys of certificates: of the REST routes, and of the service as a client and on its RPC port. */
function tlsKeyFiles(config: ProductionConfig): TlsKeyFiles {
  const { gateway, rpc, redis, kafka } = config
  const ofUrls = postgresUrls(config).map(([path, url]) => [path, postgresParts(url).parameters.get('sslkey') ?? ''])
  return {
    server: { 'gateway.tls.key': gateway?.tls.key },
    identity: {
      'rpc.tls.key': rpc?.tls?.key,
      'redis.tls.key': redis?.tls?.key,
      'kafka.tls.key': kafka?.tls.key,
      ...Object.fromEntries(ofUrls)
    }
  }
}

/** @throws {ConfigError} in production, if reflection is on an address that other machines reach */
export function requireHiddenReflection(reflection: boolean, host: string, environment = process.env): void {
  if (environment.NODE_ENV !== 'production' || !reflection || isLoopback(host)) return
  throw new ConfigError(
    `rpc.reflection: got true on ${host}, production takes it on a loopback address only (RPC_REFLECTION)`
  )
}
