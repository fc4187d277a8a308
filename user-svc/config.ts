/** The sections of the configuration that user-svc reads. */

import { duration, flag, host, integer, port, secretList } from '#common/config/keys.ts'
import { ConfigError, loadConfig, requireAddress } from '#common/config/load.ts'
import { postgresAddress, requireTlsInUrl } from '#common/config/postgres-url.ts'
import {
  kafka,
  listenKeys,
  log,
  requireDistinctTopics,
  requireStrongRpcToken,
  rpc,
  shutdown
} from '#common/config/shared-sections.ts'
import { url } from '#common/config/url-keys.ts'

/** user-svc's own section. */
export const userSvc = {
  host: host('127.0.0.1', 'Address that the RPCs listen on.'),
  port: port(50051, 'Port of the RPCs.'),
  ...listenKeys(9465),
  postgres: {
    url: url(
      ['postgres', 'postgresql'],
      '',
      'Address of PostgreSQL, with user and password. Empty: `make run` starts one.',
      (_parts, written) => postgresAddress(written)
    ),
    maxConnections: integer(10, 'Connections that one process keeps to PostgreSQL.', { min: 1, max: 1000 }),
    queryTimeout: duration('3s', 'The longest that one statement may take.', { min: '50ms', max: '60s' }),
    migrate: flag(
      true,
      'Bring the database to the newest schema at start. Turn it off where a job of its own does that.'
    )
  },
  password: {
    cost: integer(
      12,
      'bcrypt cost, as the power of two of its rounds. Below 10 for tests only, refused in production. Raise it rather than lower it: a hash is renewed at the next log-in only.',
      {
        min: 4,
        max: 14
      }
    ),
    hashesAtATime: integer(
      0,
      'Hashes that one process computes at a time. 0: one a core; fewer where several processes share the cores.',
      { max: 1024 }
    ),
    minLength: integer(
      8,
      'Shortest password, in code points. NIST SP 800-63B-4 asks for 15 where it is the only factor.',
      {
        min: 8,
        max: 64
      }
    ),
    peppers: secretList(
      'Keys for the HMAC under the password hash, the newest first, each as `name:base64` of 32 bytes or more.'
    )
  },
  bruteForce: {
    // Scripts set this key, so it is accepted before its feature exists.
    enabled: flag(
      false,
      'Has no effect in this version, which counts no wrong passwords of an account: `gateway.rateLimit` alone limits log-ins. `true` logs a warning.'
    )
  }
}

/** Everything that user-svc reads. */
export const schema = { userSvc, rpc, kafka, log, shutdown }

/** The configuration of user-svc, or a ConfigError. */
export function load() {
  const config = loadConfig(schema)
  requireStrongRpcToken(config.rpc)
  requireDistinctTopics(config.kafka)
  requireAddress('userSvc.postgres.url', config.userSvc.postgres.url)
  requireTlsInUrl(config.userSvc.postgres.url, process.env)
  if (process.env.NODE_ENV === 'production' && config.userSvc.password.cost < 10) {
    throw new ConfigError(`userSvc.password.cost: got ${config.userSvc.password.cost}, production takes 10 to 14`)
  }
  return config
}
