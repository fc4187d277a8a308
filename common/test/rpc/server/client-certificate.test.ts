/** mTLS: a name in a client certificate identifies a caller of `rpc.callers`, in all protocols and in readiness. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { ConnectError, createClient, type Transport } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node'
import { Registry } from '@prometheus-io/client'
import t from 'tap'
import { codeName } from '#common/errors/codes.ts'
import { createLogger } from '#common/logging/logger.ts'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { reasonOf } from '#common/ops/probe.ts'
import { methodsOfRole } from '#common/rpc/callers.ts'
import { probeHealth } from '#common/rpc/client/health-probe.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { certificateNames } from '#common/rpc/server/client-certificate.ts'
import { buildSessionServer } from '#common/test/rpc/session-server.ts'
import { createTestCa, localHosts, type TestCertificate } from '#common/testing/certificates.ts'
import { alwaysReady, testRpc } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'

const ca = createTestCa(t)
const shop = ca.issue('shop', ['DNS:shop.internal', 'DNS:other.internal'])
const gateway = ca.issue('gateway', ['URI:spiffe://cluster/gateway'])
const unknown = ca.issue('shop.internal', ['DNS:evil.internal'])
const revoked = ca.issue('revoked', ['URI:spiffe://cluster/gateway'])
const crl = ca.list(revoked)
const lines: Record<string, unknown>[] = []
const callers = ['gateway:cert-uri=spiffe%3A//cluster/gateway', 'shop:cert-dns=Shop.internal:validation']
const app = buildSessionServer(
  {
    validateSession: () => ({ result: { case: 'invalid', value: {} } }),
    createSession: () => ({})
  },
  {
    log: createLogger('test', 'info', { write: (line: string) => void lines.push(JSON.parse(line)) }),
    registry: new Registry(),
    readiness: alwaysReady,
    rpc: { ...testRpc, callers, tls: { ...ca.issue('session-svc', localHosts), ca: ca.ca, crl, clientCert: 'request' } }
  }
)
await app.listen({ host: '127.0.0.1', port: 0 })
t.teardown(() => app.close())
const baseUrl = `https://127.0.0.1:${(app.server.address() as { port: number }).port}`

function ownTransport(certificate?: TestCertificate, ownToken = '') {
  const tls = { ...certificate, ca: ca.ca }
  const rpc = { ...testRpc, token: '', ownToken, tls }
  const needs = methodsOfRole('gateway', SessionService)
  return createRpcTransport({ name: 'session-svc', urls: [baseUrl], rpc, needs }, rpcClientMetrics(new Registry()))
}

/** The transports of the product, of gRPC and of Connect in JSON. */
function transports(certificate?: TestCertificate): Transport[] {
  const pem = certificate && { cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) }
  const options = { baseUrl, nodeOptions: { ...pem, ca: readFileSync(ca.ca) }, idleConnectionTimeoutMs: 50 }
  return [
    ownTransport(certificate),
    createGrpcTransport(options),
    createConnectTransport({ ...options, httpVersion: '2', useBinaryFormat: false }),
    createConnectTransport({ ...options, httpVersion: '1.1', useBinaryFormat: true })
  ]
}

const outcome = (call: Promise<unknown>) =>
  call.then(
    () => 'ok',
    (error) => codeName(ConnectError.from(error).code)
  )
const validate = (transport: Transport) =>
  outcome(createClient(SessionService, transport).validateSession({ token: 'x' }, { timeoutMs: 3000 }))
const create = (transport: Transport) =>
  outcome(createClient(SessionService, transport).createSession({ userId: 'x' }, { timeoutMs: 3000 }))

t.test('a certificate permits the methods of its entry, and the log names its caller', async (t) => {
  for (const [index, transport] of transports(shop).entries()) {
    lines.length = 0
    t.equal(await validate(transport), 'ok')
    // The product's transport maps a rejection of its credential to `unavailable`.
    t.equal(await create(transport), index === 0 ? 'unavailable' : 'permission_denied')
    t.match(lines[0], { event: 'rpc_served', caller: 'shop' })
    const rpc = 'session.v1.SessionService/CreateSession'
    t.match(lines[1], { event: 'authz_fail', caller: 'shop', rpc, reason: 'method_not_permitted' })
  }
})

t.test('another certificate, or none, is no caller', async (t) => {
  for (const [certificate, reason] of [
    [unknown, 'unknown_credential'],
    [undefined, 'no_credential']
  ] as const) {
    for (const [index, transport] of transports(certificate).entries()) {
      lines.length = 0
      t.equal(await validate(transport), index === 0 ? 'unavailable' : 'unauthenticated')
      t.match(lines[0], { event: 'authz_fail', caller: undefined, reason })
    }
  }
})

t.test('a token decides also beside a certificate', async (t) => {
  t.equal(await create(ownTransport(shop, testRpc.token)), 'ok')
  t.equal(await validate(ownTransport(shop, 'unknown')), 'unavailable')
})

t.test('readiness of a caller reports its certificate', async (t) => {
  const reason = (certificate?: TestCertificate) =>
    probeHealth(ownTransport(certificate))().then(() => 'ready', reasonOf)
  t.equal(await reason(gateway), 'ready')
  t.match(await reason(shop), /^denies this service the methods session\.v1\.SessionService\/DeleteSession,/)
  t.match(await reason(unknown), /^rejects the credential of this service .*rpc\.tls\.cert/)
  t.match(await reason(), /^rejects the credential of this service/)
  t.match(await reason(revoked), /^closes the connection .* it may reject the client certificate$/)
})

t.test('a certificate that is revoked while its caller is connected is refused', async (t) => {
  const stolen = ca.issue('stolen', ['DNS:shop.internal'])
  const transport = ownTransport(stolen)
  t.equal(await validate(transport), 'ok')
  ca.list(stolen)
  await until('the caller is refused', async () => (await validate(transport)) !== 'ok')
  t.equal(await validate(ownTransport(shop)), 'ok')
})

t.test('a name cannot be forged inside another one', async (t) => {
  const names = (subjectAltName: string, CN: unknown = 'x') =>
    [...certificateNames({ subjectAltName, toLegacyObject: () => ({ subject: { CN } }) as never })].sort()
  t.same(names('DNS:A.internal, URI:spiffe://b, IP Address:127.0.0.1'), ['cn=x', 'dns=a.internal', 'uri=spiffe://b'])
  t.same(names('URI:"x, DNS:gateway.internal", DNS:b'), ['cn=x', 'dns=b', 'uri=x, DNS:gateway.internal'])
  t.same(names('', ['gateway', 'x']), [])
  // With the text that Node.js gives a real certificate.
  const forged = ca.issue('forged', ['@forged\n[forged]\nURI.1=spiffe://x, DNS:shop.internal'])
  t.equal(await validate(transports(forged)[1] as Transport), 'unauthenticated')
})

t.test('a health check of an orchestrator needs no entry', async (t) => {
  lines.length = 0
  const child = spawn('curl', [
    ...['-s', '--cacert', ca.ca, '--cert', unknown.cert, '--key', unknown.key, '-H', 'content-type: application/json'],
    ...['-d', '{}', `${baseUrl}/grpc.health.v1.Health/Check`]
  ])
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk) => chunks.push(chunk))
  await once(child, 'close')
  t.match(Buffer.concat(chunks).toString(), /SERVING/)
  t.notOk(lines.some(({ event }) => event === 'authz_fail'))
})
