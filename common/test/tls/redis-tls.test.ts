/** Redis by TLS: alone, with Sentinels and as a cluster; hosts, CAs, client certificates, and certificates that are replaced. */

import t from 'tap'
import { connectionFailure, connectRedis } from '#common/redis/connection.ts'
import type { RedisConfig } from '#common/redis/routing.ts'
import { openRedis } from '#common/redis/store.ts'
import { createTestCa, expired, replaceFiles } from '#common/testing/certificates.ts'
import { startRedisCluster, startRedisServer, startRedisWithSentinels } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import type { PemFiles } from '#common/tls/pem-source.ts'

const ca = createTestCa(t)
const other = createTestCa(t, 'other')
const server = ca.issue('redis', ['IP:127.0.0.1'])

const noCertificate = /^ERR_SSL_\w+_ALERT_(CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE)$/
const rejectedByServer = /^ERR_SSL_\w+_ALERT_UNKNOWN_CA$/
const anotherHost = 'ERR_TLS_CERT_ALTNAME_INVALID'
const unknownCa = /^(SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+)$/

async function outcome(port: number, tls: PemFiles, host = '127.0.0.1'): Promise<string> {
  const client = connectRedis(`rediss://${host}:${port}`, silentLog, undefined, tls)
  try {
    await until('the connection is decided', () => client.isReady || connectionFailure(client) !== undefined)
    return client.isReady ? 'ok' : ((connectionFailure(client) as NodeJS.ErrnoException).code ?? 'failed')
  } finally {
    client.destroy()
  }
}

t.test('checks the server and presents a certificate, also a replaced one', async (t) => {
  const { tlsAddress } = await startRedisServer(t, [], [], { ca: ca.ca, ...server })
  const port = Number(tlsAddress.split(':')[1])
  const own = ca.issue('session-svc')
  t.equal(await outcome(port, { ca: ca.ca, ...own }), 'ok')
  t.equal(await outcome(port, { ca: ca.ca, ...own }, 'localhost'), anotherHost)
  t.match(await outcome(port, { ca: ca.ca }), noCertificate, 'no client certificate')
  const unknown = await outcome(port, { ca: ca.ca, ...other.issue('session-svc') })
  t.match(unknown, rejectedByServer, 'a client certificate of another CA')
  t.match(await outcome(port, { ca: other.ca, ...own }), unknownCa, 'a server of another CA')

  const expiredServer = { ca: ca.ca, ...ca.issue('redis', ['IP:127.0.0.1'], expired) }
  const old = await startRedisServer(t, [], [], expiredServer)
  t.equal(await outcome(Number(old.tlsAddress.split(':')[1]), { ca: ca.ca, ...own }), 'CERT_HAS_EXPIRED')

  const files = { cert: ca.file('used.pem'), key: ca.file('used.key') }
  replaceFiles(other.issue('session-svc'), files)
  const client = connectRedis(`rediss://127.0.0.1:${port}`, silentLog, undefined, { ca: ca.ca, ...files })
  t.teardown(() => client.destroy())
  await until('the certificate is rejected', () => connectionFailure(client) !== undefined)
  replaceFiles(own, files)
  await until('the replaced certificate is used', () => client.isReady)
})

/** The reason why a store is unusable; `ok` if it reads a key. */
async function storeOutcome(config: Partial<RedisConfig>, tls: PemFiles): Promise<string> {
  const store = openRedis(
    { topology: 'cluster', url: 'rediss://any', nodes: [], sentinelName: 'main', sentinelPassword: '', ...config, tls },
    { log: silentLog }
  )
  try {
    await until('the connection is decided', () => store.redis.isReady || store.failure() !== undefined)
    if (!store.redis.isReady) return (store.failure() as NodeJS.ErrnoException).code ?? 'failed'
    // Every server answers.
    const keys = Array.from({ length: 20 }, (_, index) => `{${index}}`)
    await until('all keys are served', async () =>
      (await Promise.allSettled(keys.map((key) => store.redis.hKeys(key)))).every(
        ({ status }) => status === 'fulfilled'
      )
    )
    return 'ok'
  } finally {
    store.close()
  }
}

t.test('checks the Sentinels and the master, in each connection', async (t) => {
  const { sentinels } = await startRedisWithSentinels(t, 1, { ca: ca.ca, ...server })
  const config = { topology: 'sentinel' as const, nodes: sentinels.map(({ tlsAddress }) => tlsAddress) }
  const own = ca.issue('session-svc')
  t.equal(await storeOutcome(config, { ca: ca.ca, ...own }), 'ok')
  t.match(await storeOutcome(config, { ca: other.ca, ...own }), unknownCa)
  t.match(await storeOutcome(config, { ca: ca.ca }), noCertificate, 'no client certificate')
  const elsewhere = config.nodes.map((node) => node.replace('127.0.0.1', 'localhost'))
  t.equal(await storeOutcome({ ...config, nodes: elsewhere }, { ca: ca.ca, ...own }), anotherHost)
})

t.test('checks each master of a cluster', async (t) => {
  const servers = await startRedisCluster(t, 2, { ca: ca.ca, ...server })
  const config = { topology: 'cluster' as const, nodes: servers.map(({ tlsAddress }) => tlsAddress) }
  const own = ca.issue('session-svc')
  t.equal(await storeOutcome(config, { ca: ca.ca, ...own }), 'ok')
  t.match(await storeOutcome(config, { ca: other.ca, ...own }), unknownCa)
  const unknown = await storeOutcome(config, { ca: ca.ca, ...other.issue('session-svc') })
  t.match(unknown, rejectedByServer, 'a client certificate of another CA')
  const elsewhere = config.nodes.map((node) => node.replace('127.0.0.1', 'localhost'))
  t.equal(await storeOutcome({ ...config, nodes: elsewhere }, { ca: ca.ca, ...own }), anotherHost)
})
