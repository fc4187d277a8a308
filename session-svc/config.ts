/** The sections of the configuration that session-svc reads. */

import { requireAcceptedCallers } from '#common/config/caller-credentials.ts'
import { keyPaths } from '#common/config/catalogue.ts'
import { duration, host, integer, port } from '#common/config/keys.ts'
import { loadConfig } from '#common/config/load.ts'
import { requireHiddenReflection, requireProduction } from '#common/config/production.ts'
import {
  kafka,
  listenKeys,
  log,
  redis,
  requireDistinctTopics,
  requireRedis,
  rpc,
  security,
  shutdown
} from '#common/config/shared-sections.ts'
import { requireTrustedCa } from '#common/config/tls-keys.ts'

/** session-svc's own section. */
export const sessionSvc = {
  host: host('127.0.0.1', 'Address that the RPCs listen on.'),
  port: port(50052, 'Port of the RPCs.'),
  ...listenKeys(9466)
}

/** The lifetime of sessions. */
export const session = {
  idleTimeout: duration('7d', 'A session ends when it has not been used for this time.', { min: '1s' }),
  lifetime: duration('30d', 'A session ends after this time, even if it is in use.', { min: '1s' }),
  maxPerUser: integer(100, 'Maximum number of sessions of an account; one more ends the oldest.', {
    min: 1,
    max: 100_000
  })
}

/** The sections that session-svc reads. */
export const schema = { sessionSvc, session, rpc, redis, kafka, log, security, shutdown }

/** The configuration of session-svc, or a ConfigError. */
export function load() {
  const config = loadConfig(schema, process.env, { otherKeys: keyPaths })
  requireAcceptedCallers(config.rpc)
  requireTrustedCa(config.rpc.tls)
  requireDistinctTopics(config.kafka)
  requireRedis(config.redis)
  requireProduction(config, { schema })
  requireHiddenReflection(config.rpc.reflection, config.sessionSvc.host)
  return config
}
