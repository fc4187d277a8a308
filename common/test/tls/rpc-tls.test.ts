/** RPC by TLS: hosts, CAs, versions, client certificates, HTTP/1.1, and certificates that are replaced under load. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { buildSessionServer } from '#common/test/rpc/session-server.ts'
import { createTestCa, expired, replaceFiles, type TestCertificate } from '#common/testing/certificates.ts'
import { alwaysReady, silentLog, testRpc } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import type { ServerTls } from '#common/tls/termination.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'

const ca = createTestCa(t)
const other = createTestCa(t, 'other')
const server = ca.issue('session-svc')

async function serve(t: Pick<Test, 'teardown'>, tls: ServerTls, atPort = 0, answer = async (_token: string) => {}) {
  const app = buildSessionServer(
    {
      validateSession: async ({ token }) => {
        await answer(token)
        return { result: { case: 'invalid', value: {} } }
      }
    },
    { log: silentLog, registry: new Registry(), readiness: alwaysReady, rpc: { ...testRpc, tls } }
  )
  await app.listen({ host: '127.0.0.1', port: atPort })
  t.teardown(() => app.close())
  return { app, port: (app.server.address() as { port: number }).port }
}

function client(port: number, tls: ServerTls = { ca: ca.ca }, host = '127.0.0.1') {
  return clientOf([`https://${host}:${port}`], tls)
}

function clientOf(urls: string[], tls: ServerTls) {
  const upstream = { name: 'session-svc', urls, rpc: { ...testRpc, tls } }
  return createClient(SessionService, createRpcTransport(upstream, rpcClientMetrics(new Registry())))
}

/** A closed connection during a call has the code of a timeout. */
function failureOf(error: unknown): string {
  const { code, rawMessage, cause } = ConnectError.from(error)
  if (rawMessage === 'The connection failed during the call.') return 'closed'
  const { code: reason } = (cause ?? {}) as { code?: unknown }
  return typeof reason === 'string' && reason.startsWith('ERR_SSL_') ? reason : Code[code]
}

const rejected = /^(closed|Unavailable|ERR_SSL_\w+_ALERT_CERTIFICATE_REQUIRED)$/

const outcome = (calls: ReturnType<typeof client>) =>
  calls.validateSession({ token: 'x' }, { timeoutMs: 3000 }).then(() => 'ok', failureOf)

t.test('a client accepts the certificate of its host, and no other one', async (t) => {
  const { port } = await serve(t, server)
  t.equal(await outcome(client(port)), 'ok')
  t.equal(await outcome(client(port, { ca: ca.ca }, 'localhost')), 'ok')
  t.equal(await outcome(client(port, { ca: other.ca })), 'Unavailable', 'unknown CA')
  t.equal(await outcome(client(port, {})), 'Unavailable', 'the CAs of Node.js')
  const named = await serve(t, ca.issue('elsewhere', ['DNS:elsewhere.example']))
  t.equal(await outcome(client(named.port)), 'Unavailable', 'wrong host')
  const old = await serve(t, ca.issue('old', undefined, expired))
  t.equal(await outcome(client(old.port)), 'Unavailable', 'expired')
})

const tlsVersion = async (port: number, version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') => {
  const ciphers = version === 'TLSv1.1' ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    ca: [],
    rejectUnauthorized: false,
    minVersion: version,
    maxVersion: version,
    ...ciphers
  })
  try {
    await once(socket, 'secureConnect')
    return socket.getProtocol()
  } catch {
    return 'refused'
  } finally {
    socket.destroy()
  }
}

t.test('serves TLS 1.2 and 1.3, refuses TLS 1.1 and plain connections', async (t) => {
  const { port } = await serve(t, server)
  t.equal(await tlsVersion(port, 'TLSv1.1'), 'refused')
  t.equal(await tlsVersion(port, 'TLSv1.2'), 'TLSv1.2')
  t.equal(await tlsVersion(port, 'TLSv1.3'), 'TLSv1.3')
  const plain = createRpcTransport(
    { name: 'session-svc', urls: [`http://127.0.0.1:${port}`], rpc: testRpc },
    rpcClientMetrics(new Registry())
  )
  t.match(await outcome(createClient(SessionService, plain)), rejected)
})

t.test('serves curl over HTTP/1.1 and HTTP/2', async (t) => {
  const { port } = await serve(t, server)
  for (const version of ['1.1', '2']) {
    const child = spawn('curl', [
      ...['-s', '--cacert', ca.ca, '-w', ' %{http_version}', '-H', `authorization: Bearer ${testRpc.token}`],
      ...['-H', 'content-type: application/json', '-d', '{"token":"x"}', `--http${version}`],
      `https://localhost:${port}/session.v1.SessionService/ValidateSession`
    ])
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk) => chunks.push(chunk))
    await once(child, 'close')
    t.equal(Buffer.concat(chunks).toString(), `{"invalid":{}} ${version}`)
  }
})

t.test('checks client certificates', async (t) => {
  const gateway = ca.issue('gateway')
  const revoked = ca.issue('stolen')
  const crl = ca.list(revoked)
  const own = (files: ServerTls) => ({ ...files, ca: ca.ca })
  const { port } = await serve(t, { ...own(server), crl, clientCert: 'require' })
  t.equal(await outcome(client(port, own(gateway))), 'ok')
  t.match(await outcome(client(port)), rejected, 'no certificate')
  t.match(await outcome(client(port, own(other.issue('gateway')))), rejected, 'unknown CA')
  t.match(await outcome(client(port, own(ca.issue('old', undefined, expired)))), rejected, 'expired')
  t.match(await outcome(client(port, own(revoked))), rejected, 'revoked')
  const asked = await serve(t, { ...own(server), crl, clientCert: 'request' })
  t.equal(await outcome(client(asked.port)), 'ok', 'a requested certificate may be missing')
  t.equal(await outcome(client(asked.port, own(gateway))), 'ok')
  t.match(await outcome(client(asked.port, own(revoked))), rejected, 'a presented one must be valid')
})

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

t.test('certificates are replaced under load without a failed call', async (t) => {
  const files = { cert: ca.file('live.pem'), key: ca.file('live.key') }
  replaceFiles(server, files)
  const { port } = await serve(t, files)
  const outcomes = new Set<string>()
  let isDone = false
  const load = Array.from({ length: 4 }, async () => {
    while (!isDone) {
      const calls = client(port)
      for (let count = 0; count < 20; count += 1) outcomes.add(await outcome(calls))
    }
  })
  replaceFiles(ca.issue('replacement'), files)
  await until('the new certificate is served', async () => {
    const socket = connectTls({ host: '127.0.0.1', port, ca: [], rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    const { CN } = socket.getPeerCertificate().subject
    socket.destroy()
    return CN === 'replacement'
  })
  isDone = true
  await Promise.all(load)
  t.same([...outcomes], ['ok'])
})

t.test('two instances change to TLS one after the other without a failed call', async (t) => {
  const first = await serve(t, {})
  const second = await serve(t, {})
  const urls = [`http://127.0.0.1:${first.port}`, `http://127.0.0.1:${second.port}`]
  const outcomes = new Set<string>()
  const use = async (calls: ReturnType<typeof client>) => {
    for (let count = 0; count < 50; count += 1) outcomes.add(await outcome(calls))
  }
  const before = clientOf(urls, { ca: ca.ca })
  await use(before)
  const during = use(before)
  await first.app.close()
  await serve(t, server, first.port)
  await during
  await use(before)
  const restarted = clientOf([`https://127.0.0.1:${first.port}`, urls[1] as string], { ca: ca.ca })
  await use(restarted)
  await second.app.close()
  await serve(t, server, second.port)
  await use(restarted)
  await use(
    clientOf(
      [first, second].map(({ port }) => `https://127.0.0.1:${port}`),
      { ca: ca.ca }
    )
  )
  t.same([...outcomes], ['ok'])
})
