/** RPC by TLS: hosts, CAs, versions, client certificates, HTTP/1.1, and certificates that are replaced under load. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectTls } from 'node:tls'
import { createClient } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import t from 'tap'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { createTestCa, expired, replaceFiles } from '#common/testing/certificates.ts'
import { testRpc } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import type { ServerTls } from '#common/tls/termination.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { clientOf, outcome, rejected, serve } from './tls-calls.ts'

const ca = createTestCa(t)
const other = createTestCa(t, 'other')
const server = ca.issue('session-svc')

function client(port: number, tls: ServerTls = { ca: ca.ca }, host = '127.0.0.1') {
  return clientOf([`https://${host}:${port}`], tls)
}

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
