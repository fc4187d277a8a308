/** Client certificates that are revoked while a server runs: new calls are refused, open connections end. */

import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import t from 'tap'
import { createTestCa, type TestCertificate } from '#common/testing/certificates.ts'
import { testRpc } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import type { ServerTls } from '#common/tls/termination.ts'
import { clientOf, outcome, rejected, serve } from './tls-calls.ts'

const ca = createTestCa(t)
const server = ca.issue('session-svc')
const client = (port: number, tls: ServerTls) => clientOf([`https://127.0.0.1:${port}`], tls)

t.test('a certificate that is revoked while its client is connected is refused without a restart', async (t) => {
  const gateway = ca.issue('gateway')
  const crl = ca.list()
  const { port } = await serve(t, { ...server, ca: ca.ca, crl, clientCert: 'require' })
  const calls = client(port, { ...gateway, ca: ca.ca })
  t.equal(await outcome(calls), 'ok')
  ca.list(gateway)
  await until('the client is refused', async () => rejected.test(await outcome(calls)))
})

t.test('uses the list of revoked certificates of each CA', async (t) => {
  const other = createTestCa(t, 'other')
  const [cas, crl] = [ca.file('two-cas.pem'), ca.file('two-lists.pem')]
  const revoked = [ca, other].map((each) => each.issue('stolen')) as [TestCertificate, TestCertificate]
  const join = (...files: string[]) => files.map((file) => readFileSync(file, 'utf8')).join('')
  writeFileSync(cas, join(ca.ca, other.ca))
  writeFileSync(crl, join(ca.list(revoked[0]), other.list(revoked[1])))
  const { port } = await serve(t, { ...server, ca: cas, crl, clientCert: 'require' })
  for (const [index, each] of [ca, other].entries()) {
    t.equal(await outcome(client(port, { ...each.issue('gateway'), ca: ca.ca })), 'ok', `CA ${index + 1}`)
    const stolen = revoked[index] as TestCertificate
    t.match(await outcome(client(port, { ...stolen, ca: ca.ca })), rejected, `revoked by CA ${index + 1}`)
  }
})

function post(port: number, agent: https.Agent, token: string): Promise<IncomingMessage> {
  const headers = { authorization: `Bearer ${testRpc.token}`, 'content-type': 'application/json' }
  const path = '/session.v1.SessionService/ValidateSession'
  return new Promise((resolve, reject) => {
    const request = https.request({ host: '127.0.0.1', port, path, method: 'POST', agent, headers }, resolve)
    request.on('error', reject).end(JSON.stringify({ token }))
  })
}

t.test('a revoked certificate ends open connections of HTTP/1.1, and those without a request', async (t) => {
  const gateway = ca.issue('gateway')
  const crl = ca.list()
  const [started, finished] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const { port } = await serve(t, { ...server, ca: ca.ca, crl, clientCert: 'require' }, 0, async (token) => {
    if (token !== 'slow') return
    started.resolve()
    await finished.promise
  })
  const own = { ca: readFileSync(ca.ca), cert: readFileSync(gateway.cert), key: readFileSync(gateway.key) }
  const agent = new https.Agent({ ...own, keepAlive: true })
  const idle = await post(port, agent, 'quick')
  t.equal(idle.headers.connection, 'keep-alive')
  const idleSocket = idle.resume().socket
  await once(idle, 'end')
  const [slowAgent, unused] = [
    new https.Agent({ ...own, keepAlive: true }),
    connectTls({ host: '127.0.0.1', port, ...own })
  ]
  const slow = post(port, slowAgent, 'slow')
  const handshaking = connectTcp(port, '127.0.0.1')
  t.teardown(() => {
    agent.destroy()
    slowAgent.destroy()
    unused.destroy()
    handshaking.destroy()
  })
  await Promise.all([started.promise, once(unused, 'secureConnect'), once(handshaking, 'connect')])
  const sockets = [idleSocket, unused, handshaking]
  for (const socket of sockets) socket.on('error', () => {}).resume()
  ca.list(gateway)
  await until('the connections are closed', () => sockets.every((socket) => socket.closed), 8000)
  finished.resolve()
  const response = await slow
  t.equal(response.statusCode, 200, 'a request in progress gets its response')
  t.equal(response.headers.connection, 'close')
  await t.rejects(post(port, agent, 'quick'), { code: /^(ERR_SSL_\w*CERTIFICATE_REVOKED|ECONNRESET)$/ })
})
