/** Redis by TLS: its host, its CA, client certificates, and certificates that are replaced while connected. */

import t from 'tap'
import { connectionFailure, connectRedis } from '#common/redis/connection.ts'
import { createTestCa, replaceFiles } from '#common/testing/certificates.ts'
import { freePort } from '#common/testing/ports.ts'
import { startRedisServer } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import type { PemFiles } from '#common/tls/pem-source.ts'

const ca = createTestCa(t)
const other = createTestCa(t, 'other')
const server = ca.issue('redis')

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
  const port = await freePort()
  await startRedisServer(t, [
    ...[`tls-port ${port}`, `tls-cert-file ${server.cert}`, `tls-key-file ${server.key}`],
    ...[`tls-ca-cert-file ${ca.ca}`, 'tls-auth-clients yes']
  ])
  const own = ca.issue('session-svc')
  t.equal(await outcome(port, { ca: ca.ca, ...own }), 'ok')
  t.equal(await outcome(port, { ca: ca.ca, ...own }, 'localhost'), 'ok')
  t.not(await outcome(port, { ca: ca.ca }), 'ok', 'no client certificate')
  t.not(await outcome(port, { ca: ca.ca, ...other.issue('session-svc') }), 'ok', 'a client certificate of another CA')
  t.not(await outcome(port, { ca: other.ca, ...own }), 'ok', 'a server of another CA')

  const files = { cert: ca.file('used.pem'), key: ca.file('used.key') }
  replaceFiles(other.issue('session-svc'), files)
  const client = connectRedis(`rediss://127.0.0.1:${port}`, silentLog, undefined, { ca: ca.ca, ...files })
  t.teardown(() => client.destroy())
  await until('the certificate is rejected', () => connectionFailure(client) !== undefined)
  replaceFiles(own, files)
  await until('the replaced certificate is used', () => client.isReady)
})
