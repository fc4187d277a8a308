/** The sections of `config.yml` that several services share, and the keys that every service's own section has. */

import { callerList, choice, directory, duration, flag, host, integer, password, port, secret, text } from './keys.ts'
import { ConfigError, requireAddress, type Values } from './load.ts'
import { sampleProblem } from './secret-samples.ts'
import { clientTlsKeys, kafkaSasl, kafkaTls, rpcTls } from './tls-keys.ts'
import { addressList, isRedisUrl, url, urlList } from './url-keys.ts'

/** The address of the ops port; every service's section has these keys. */
export function listenKeys(opsPort: number) {
  return {
    opsHost: host(
      '127.0.0.1',
      'Address that `/livez`, `/readyz` and `/metrics` listen on. Keep it off public networks.'
    ),
    opsPort: port(opsPort, 'Port of `/livez`, `/readyz` and `/metrics`.')
  }
}

/** The severities of a log line, the lowest first. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const

/** The log, for all services. */
export const log = {
  level: choice([...logLevels, 'silent'], 'info', 'The lowest level that is logged.'),
  stdout: choice(
    [...logLevels, 'silent'],
    'warn',
    'The lowest level that is also written to standard output. `make logs` shows all levels.'
  ),
  spool: {
    directory: directory(
      '.data/spool',
      'Directory of the disk buffer, which keeps lines until Kafka has them. Each service creates a folder of its own there.'
    ),
    maxBytes: integer(
      2 ** 30,
      'The maximum size of the disk buffer of one process, in bytes. Beyond it, the oldest lines are dropped and counted.',
      { min: 2 ** 23, max: 2 ** 50 }
    )
  }
}

/** Calls between the services. */
export const rpc = {
  token: secret(
    'Credential for every call of the services to each other. Required unless `rpc.callers` and `rpc.ownToken` are set, or `rpc.callers` and `rpc.tls.cert`; in production at least 32 characters. `make run` generates one.'
  ),
  previousToken: secret(
    'A second credential that is accepted too, so that `rpc.token` can be changed without an outage: restart session-svc, then user-svc, then gateway with the new `rpc.token` and the old one here.'
  ),
  adminToken: secret(
    'Credential of operators, for `admin.v1.AdminService` only. Empty: user-svc rejects every call of it. In production at least 32 characters, and never `rpc.token`. `make run` generates one.'
  ),
  previousAdminToken: secret(
    'A second credential of operators that is accepted too, so that `rpc.adminToken` can be changed without an interruption.'
  ),
  callers: callerList(
    'Credentials of single callers, each with the methods that it may call: `name:token` with the role `gateway`, `user-svc`, `operators` or `validation` as the name, or `name:token:permissions` with roles, methods (`session.v1.SessionService/ValidateSession`) and services (`session.v1.SessionService/*`), separated by `+`. All other methods are denied. Instead of a token, an entry may have a name in a client certificate, for `rpc.tls.clientCert`: `gateway:cert-dns=gateway.internal`, `cert-uri=spiffe%3A//…` or `cert-cn=…`. A name may have several tokens and certificates, so that one can be changed without an outage. `make run` generates one for each service, and one for an application.'
  ),
  ownToken: secret(
    'Credential that this service presents to the services that it calls, whose `rpc.callers` names it. Empty: `rpc.token`; if that is empty too, the certificate `rpc.tls.cert`.'
  ),
  reflection: flag(
    true,
    'Serve `grpc.reflection` on the RPC ports, for `grpcurl` and `buf curl`. Off in production unless set.',
    { production: false }
  ),
  tls: rpcTls,
  userSvcUrl: urlList('http://127.0.0.1:50051', 'URLs of the instances of user-svc.'),
  sessionSvcUrl: urlList('http://127.0.0.1:50052', 'URLs of the instances of session-svc.'),
  maxMessageBytes: integer(65_536, 'The maximum size of an RPC message, in bytes.', {
    // The size of a full batch of validations.
    min: 32_768,
    max: 16_777_216
  }),
  maxTimeout: duration(
    '30s',
    'The maximum duration of a call. A longer deadline of the caller is lowered to it; a stream without a deadline has none.',
    {
      min: '100ms',
      max: '10m'
    }
  ),
  connections: {
    max: integer(
      10_000,
      'Maximum number of open connections of an RPC port. Lowered to the limit of file descriptors minus 192.',
      { min: 16, max: 1_000_000 }
    ),
    maxPerNetwork: integer(
      1000,
      'Maximum number of open connections of one IPv4 address, or one IPv6 /64 network, to an RPC port.',
      { min: 1, max: 1_000_000 }
    ),
    maxStreams: integer(
      10_000,
      'Maximum number of open calls of one connection, which HTTP/2 announces. Without a credential, a connection may have 100, and all connections together 1000, besides one for each.',
      { min: 100, max: 1_000_000 }
    )
  }
}

/** Redis, for sessions and rate limits. */
export const redis = {
  topology: choice(
    ['single', 'cluster', 'sentinel'],
    'single',
    'One server, a Redis Cluster, or the master that Redis Sentinels name.'
  ),
  url: url(
    ['redis', 'rediss'],
    'Address of Redis, with user and password if it has any. Empty: `make run` starts one. With a cluster or Sentinels, scheme, user and password apply to every server, and the address is ignored.',
    isRedisUrl
  ),
  nodes: addressList(
    'Some nodes of the cluster, or all Sentinels: a master is used only while more than half of the Sentinels name it.',
    '127.0.0.1:6379'
  ),
  sentinelName: text('', 'Name of the master at the Sentinels.'),
  sentinelPassword: password('Password of the Sentinels, if they have one.'),
  tls: clientTlsKeys('Redis'),
  durability: choice(
    ['check', 'assured'],
    'check',
    'Whether session-svc checks with INFO and CONFIG GET that Redis keeps every write and evicts nothing. `assured`: the operator guarantees both, as for a managed Redis that permits neither command.'
  ),
  minReplicas: integer(
    0,
    'Replicas that must confirm the creation or the end of a session before the response. With 0, a failover can bring an ended session back.',
    { max: 10 }
  )
}

/** Requires the address of Redis. */
export function requireRedis({ topology, url, nodes, sentinelName }: Values<typeof redis>): void {
  if (topology === 'single') requireAddress('redis.url', url)
  else requireAddress('redis.nodes', nodes)
  if (topology === 'sentinel') requireAddress('redis.sentinelName', sentinelName)
}

/** A topic, which the product creates if it does not exist. */
function topicKeys(topic: string, content: string, retention: string) {
  return {
    topic: text(
      topic,
      `Topic of ${content}.`,
      'a name of 1 to 249 of a-z A-Z 0-9 . _ - (not . or ..)',
      /^(?!\.{1,2}$)[\w.-]{1,249}$/
    ),
    partitions: integer(6, 'Partitions of the new topic: the maximum number of processes that can share the reading.', {
      min: 1,
      max: 1000
    }),
    replication: integer(0, 'Replicas of the new topic. 0: as many as there are brokers, at most 3.', {
      max: 100
    }),
    retention: duration(retention, 'Time for which the brokers keep a record.', { min: '1m', max: '400d' }),
    retentionBytes: integer(2 ** 30, 'The maximum size of one partition, in bytes.', {
      min: 2 ** 20,
      max: 2 ** 50
    })
  }
}

/** Kafka, for the logs and the events of accounts. */
export const kafka = {
  enabled: flag(
    true,
    'Use Kafka. If false, `kafka.brokers` is ignored, logs stay in the disk buffers of at most `log.spool.maxBytes`, and events of accounts are not published. `KAFKA=off make run` sets it.'
  ),
  brokers: addressList(
    'Addresses of Kafka brokers. Empty: `make run` starts one; a service keeps its log in its disk buffer.',
    '127.0.0.1:9092'
  ),
  compression: choice(['zstd', 'gzip', 'none'], 'zstd', 'Compression of the log lines, in transit and at the brokers.'),
  tls: kafkaTls,
  sasl: kafkaSasl,
  logs: topicKeys('logs', 'the log lines', '7d'),
  accountEvents: topicKeys('account-events', 'the events of accounts', '30d')
}

/** Rejects one topic for two kinds of records: log-sink would read events, and readers of events would read log lines. */
export function requireDistinctTopics({
  logs,
  accountEvents
}: Pick<Values<typeof kafka>, 'logs' | 'accountEvents'>): void {
  if (logs.topic !== accountEvents.topic) return
  throw new ConfigError(
    `kafka.accountEvents.topic: got "${logs.topic}", takes a topic other than kafka.logs.topic (KAFKA_ACCOUNT_EVENTS_TOPIC)`
  )
}

/** The brokers in use: none if Kafka is off. */
export function activeBrokers({ enabled, brokers }: Pick<Values<typeof kafka>, 'enabled' | 'brokers'>): string[] {
  return enabled ? brokers : []
}

/** What production refuses unless it is allowed here; see production.ts. */
export const security = {
  allowPlaintext: flag(
    false,
    'With `NODE_ENV=production`, accept connections to other hosts without TLS, to PostgreSQL, Redis, Kafka, the mail server and the services, and without a login at Kafka and Sentinels. For a network that only these machines reach, such as that of `compose.yaml`.'
  )
}

/** The stop of a service. */
export const shutdown = {
  timeout: duration('10s', 'Time for a service to finish accepted work after SIGTERM.', {
    min: '1s',
    max: '10m'
  }),
  drainDelay: duration(
    '0s',
    'Time for which a stopping service is unready and still accepts requests, so that load balancers notice.',
    {
      max: '5m'
    }
  )
}

/** The weakness of a secret, if any: it must be set, and in production be long and no sample. */
export function weakness(value: string, production: boolean): string | undefined {
  if (value === '') return 'is missing'
  if (!production) return undefined
  if (value.length < 32) return 'is shorter than 32 characters, which production does not allow'
  return sampleProblem(value)
}

/** Requires a service credential, in production a strong one. */
export function requireStrongRpcToken(rpc: { token: string; previousToken: string }, environment = process.env): void {
  const production = environment.NODE_ENV === 'production'
  const problem = weakness(rpc.token, production)
  if (problem) throw new ConfigError(`rpc.token: ${problem}; takes at least 32 random characters (RPC_TOKEN)`)
  const previous = rpc.previousToken === '' ? undefined : weakness(rpc.previousToken, production)
  if (previous) throw new ConfigError(`rpc.previousToken: ${previous}; takes at least 32 random characters`)
}

/** Requires that a credential of operators, if there is one, is no other credential, and in production a strong one. */
export function requireStrongAdminToken(
  rpc: Record<'token' | 'previousToken' | 'adminToken' | 'previousAdminToken', string>,
  environment = process.env
): void {
  for (const name of ['adminToken', 'previousAdminToken'] as const) {
    const variable = name === 'adminToken' ? 'RPC_ADMIN_TOKEN' : 'RPC_PREVIOUS_ADMIN_TOKEN'
    const value = rpc[name]
    if (value === '') continue
    const problem = weakness(value, environment.NODE_ENV === 'production')
    if (problem) throw new ConfigError(`rpc.${name}: ${problem}; takes at least 32 random characters (${variable})`)
    // Every service that calls another one could then administer accounts.
    if (value === rpc.token || value === rpc.previousToken) {
      throw new ConfigError(`rpc.${name}: is the credential of the services; takes a value of its own (${variable})`)
    }
  }
}
