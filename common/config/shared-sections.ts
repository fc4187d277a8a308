/** The sections of `config.yml` that several services share, and the keys that each service's own section repeats. */

import { choice, directory, duration, flag, host, integer, port, secret, text } from './keys.ts'
import { ConfigError, requireAddress, type Values } from './load.ts'
import { addressList, checkRedisUrl, url, urlList } from './url-keys.ts'

/** Where a service listens; every service's section begins with these keys. */
export function listenKeys(opsPort: number) {
  return {
    opsHost: host(
      '127.0.0.1',
      'Address that `/livez`, `/readyz` and `/metrics` listen on. Keep it off public networks.'
    ),
    opsPort: port(opsPort, 'Port of `/livez`, `/readyz` and `/metrics`.')
  }
}

/** How severe a line is, the least severe first. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const

/** The log, for all services. */
export const log = {
  level: choice([...logLevels, 'silent'], 'info', 'The least severe level that is logged.'),
  stdout: choice(
    [...logLevels, 'silent'],
    'warn',
    'The least severe level that is also written to standard output. `make logs` shows all of them.'
  ),
  spool: {
    directory: directory(
      '.data/spool',
      'Directory of the disk buffer that lines wait in until Kafka has them. Each service makes a folder of its own there.'
    ),
    maxBytes: integer(
      2 ** 30,
      'The most that the disk buffer of one process may hold, in bytes. Beyond it the oldest lines are dropped and counted.',
      { min: 2 ** 20, max: 2 ** 50 }
    )
  }
}

/** How the services call each other. */
export const rpc = {
  token: secret(
    'Credential that every call between services carries. Required; in production at least 32 characters. `make run` makes one.'
  ),
  previousToken: secret(
    'A second credential that is accepted too, so that `rpc.token` can be changed without an outage: restart session-svc, then user-svc, then gateway with the new `rpc.token` and the old one here.'
  ),
  reflection: flag(
    true,
    'Serve `grpc.reflection` on the RPC ports, for `grpcurl` and `buf curl`. Off in production unless set.',
    { production: false }
  ),
  userSvcUrl: urlList('http://127.0.0.1:50051', 'Where the instances of user-svc are reached.'),
  sessionSvcUrl: urlList('http://127.0.0.1:50052', 'Where the instances of session-svc are reached.'),
  maxMessageBytes: integer(65_536, 'The largest RPC message that is read, in bytes.', {
    // What a full batch of validations takes.
    min: 32_768,
    max: 16_777_216
  }),
  maxTimeout: duration(
    '30s',
    'The most time that any call may take. A longer deadline of its caller is lowered to it; a stream without a deadline has none.',
    {
      min: '100ms',
      max: '10m'
    }
  )
}

/** Redis, for sessions and rate limits. */
export const redis = {
  topology: choice(
    ['single', 'cluster', 'sentinel'],
    'single',
    'One server; a Redis Cluster; or one server at a time, the master that Redis Sentinels name.'
  ),
  url: url(
    ['redis', 'rediss'],
    '',
    'Address of Redis, with user and password if it has any. Empty: `make run` starts one. Of a cluster and behind Sentinels, scheme, user and password hold for each server, and the address does not count.',
    checkRedisUrl
  ),
  nodes: addressList(
    'Some nodes of the cluster, or all Sentinels: a master counts only while more than half of them name it.',
    '127.0.0.1:6379'
  ),
  sentinelName: text('', 'The name that the Sentinels have for the master.'),
  sentinelPassword: secret('Password of the Sentinels, if they have one.'),
  durability: choice(
    ['check', 'assured'],
    'check',
    'Whether session-svc checks with INFO and CONFIG GET that Redis keeps every write and evicts nothing. `assured`: the operator guarantees both, as for a managed Redis that permits neither command.'
  ),
  minReplicas: integer(
    0,
    'Replicas that must have it before the creation or the end of a session is answered. With 0, a failover can bring an ended session back.',
    { max: 10 }
  )
}

/** Refuses a Redis whose whereabouts are not given. */
export function requireRedis({ topology, url, nodes, sentinelName }: Values<typeof redis>): void {
  if (topology === 'single') requireAddress('redis.url', url)
  else requireAddress('redis.nodes', nodes)
  if (topology === 'sentinel') requireAddress('redis.sentinelName', sentinelName)
}

/** A topic that the product makes if it is not there. */
function topicKeys(topic: string, content: string, retention: string) {
  return {
    topic: text(
      topic,
      `Topic of ${content}.`,
      'a name of 1 to 249 of a-z A-Z 0-9 . _ - (not . or ..)',
      /^(?!\.{1,2}$)[\w.-]{1,249}$/
    ),
    partitions: integer(
      6,
      'Partitions that the topic is created with: as many processes can share the work of reading it.',
      {
        min: 1,
        max: 1000
      }
    ),
    replication: integer(0, 'Replicas that the topic is created with. 0: as many as there are brokers, at most 3.', {
      max: 100
    }),
    retention: duration(retention, 'How long the brokers keep a record, read or not.', { min: '1m', max: '400d' }),
    retentionBytes: integer(2 ** 30, 'The most that the brokers keep of one partition, in bytes.', {
      min: 2 ** 20,
      max: 2 ** 50
    })
  }
}

/** Kafka, for the logs and the events of accounts. */
export const kafka = {
  enabled: flag(
    true,
    'Use Kafka. If false, brokers do not count, logs stay in the disk buffers of at most `log.spool.maxBytes`, and events of accounts are not published. `KAFKA=off make run` sets it.'
  ),
  brokers: addressList(
    'Addresses of Kafka brokers. Empty: `make run` starts one; a service keeps its log in its disk buffer.',
    '127.0.0.1:9092'
  ),
  compression: choice(
    ['zstd', 'gzip', 'none'],
    'zstd',
    'How the lines are compressed on their way to the brokers and there.'
  ),
  logs: topicKeys('logs', 'the log lines', '7d'),
  accountEvents: topicKeys('account-events', 'the events of accounts', '30d')
}

/** Refuses one topic for two kinds of records: log-sink would read events, and readers of events would read log lines. */
export function requireDistinctTopics({
  logs,
  accountEvents
}: Pick<Values<typeof kafka>, 'logs' | 'accountEvents'>): void {
  if (logs.topic !== accountEvents.topic) return
  throw new ConfigError(
    `kafka.accountEvents.topic: got "${logs.topic}", takes a topic other than kafka.logs.topic (KAFKA_ACCOUNT_EVENTS_TOPIC)`
  )
}

/** The brokers that count: none if Kafka is not used. */
export function activeBrokers({ enabled, brokers }: Pick<Values<typeof kafka>, 'enabled' | 'brokers'>): string[] {
  return enabled ? brokers : []
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
