/** The sections of `config.yml` that several services share, and the keys that each service's own section repeats. */

import { ConfigError } from './config.ts'
import { choice, duration, flag, integer, list, port, secret, text, url } from './config-keys.ts'

/** Where a service listens; every service's section begins with these keys. */
export function listenKeys(opsPort: number) {
  return {
    opsHost: text(
      '127.0.0.1',
      'Address that `/livez`, `/readyz` and `/metrics` listen on. Keep it off public networks.'
    ),
    opsPort: port(opsPort, 'Port of `/livez`, `/readyz` and `/metrics`.')
  }
}

/** The log, for all services. */
export const log = {
  level: choice(
    ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    'info',
    'The least severe level that is logged.'
  )
}

/** How the services call each other. */
export const rpc = {
  token: secret(
    'Credential that every call between services carries. Required; in production at least 32 characters. `make run` makes one.'
  ),
  previousToken: secret(
    'A second credential that is accepted too, so that `rpc.token` can be changed without an outage.'
  ),
  reflection: flag(true, 'Serve `grpc.reflection` on the RPC ports, for `grpcurl` and `buf curl`.'),
  userSvcUrl: url(['http', 'https'], 'http://127.0.0.1:50051', 'Where user-svc is reached.'),
  sessionSvcUrl: url(['http', 'https'], 'http://127.0.0.1:50052', 'Where session-svc is reached.'),
  maxMessageBytes: integer(65_536, 'The largest RPC message that is read, in bytes.', { min: 1024, max: 16_777_216 }),
  maxTimeout: duration('30s', 'The most time that any call may take, whatever its caller allows.', {
    min: '100ms',
    max: '10m'
  })
}

/** Redis, for sessions and rate limits. */
export const redis = {
  url: url(
    ['redis', 'rediss'],
    '',
    'Address of Redis, with user and password if it has any. Empty: `make run` starts one.'
  )
}

/** Kafka, for the logs. */
export const kafka = {
  brokers: list(
    [],
    'Addresses of Kafka brokers. Empty: `make run` starts one.',
    'addresses such as 127.0.0.1:9092',
    (address) => /^[^\s:]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$/.test(address)
  )
}

/** How services stop. */
export const shutdown = {
  timeout: duration('10s', 'The longest that a service takes to finish accepted work after SIGTERM.', {
    min: '1s',
    max: '10m'
  }),
  drainDelay: duration(
    '0s',
    'How long a service stays unready but open before it stops to accept, for load balancers to notice.',
    {
      max: '5m'
    }
  )
}

/**
 * Says what is wrong with a secret, or nothing: it must be set, and in production be long and no sample.
 *
 * @returns what the secret must be, for a message that names the key
 */
function weakness(value: string, production: boolean): string | undefined {
  if (value === '') return 'is missing'
  if (!production) return undefined
  if (value.length < 32) return 'is shorter than 32 characters, which production does not allow'
  if (/change.?me|secret|example|sample|password|0123456789/i.test(value) || new Set(value).size < 10) {
    return 'looks like a sample, which production does not allow'
  }
  return undefined
}

/** Refuses a service credential that is missing, or in production weak. */
export function requireStrongRpcToken(rpc: { token: string; previousToken: string }, environment = process.env): void {
  const production = environment.NODE_ENV === 'production'
  const problem = weakness(rpc.token, production)
  if (problem) throw new ConfigError(`rpc.token: ${problem}; takes at least 32 random characters (RPC_TOKEN)`)
  const previous = rpc.previousToken === '' ? undefined : weakness(rpc.previousToken, production)
  if (previous) throw new ConfigError(`rpc.previousToken: ${previous}; takes at least 32 random characters`)
}
