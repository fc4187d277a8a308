/** The RPC server and client of all services, over real HTTP/2: credential, deadlines, errors, trace, metrics, closing. */

import { connect } from 'node:http2'
import type { Socket } from 'node:net'
import { type Client, Code, ConnectError, createClient, type ServiceImpl } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { createLogger } from '#common/logging/logger.ts'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { watchReadiness } from '#common/ops/readiness.ts'
import { newTrace } from '#common/ops/trace.ts'
import { propagate } from '#common/rpc/call-context.ts'
import { probeHealth } from '#common/rpc/client/health-probe.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { testRpc, testTransport } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { Health } from '#gen/grpc/health/v1/health_pb.ts'
import { ServerReflection } from '#gen/grpc/reflection/v1/reflection_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { buildSessionServer } from './session-server.ts'

type Handlers = Partial<ServiceImpl<typeof SessionService>>

/** Every connection of a server, so that they can be cut. */
const connections = new WeakMap<object, Set<Socket>>()
const sockets = (server: object) => connections.get(server) ?? new Set<Socket>()

async function serve(t: Pick<Test, 'teardown'>, handlers: Handlers, rpc: Partial<typeof testRpc> = {}) {
  const lines: string[] = []
  const log = createLogger('test', 'info', { write: (line: string) => void lines.push(line) })
  const registry = new Registry()
  const app = buildSessionServer(handlers, { log, registry, rpc: { ...testRpc, ...rpc } })
  const open = new Set<Socket>()
  connections.set(app.server, open)
  app.server.on('connection', (socket: Socket) => open.add(socket))
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const { port } = app.server.address() as { port: number }
  return { app, port, registry, lines, client: createClient(SessionService, testTransport(port)) }
}

/** As another service would call it. */
function caller(port: number, token = testRpc.token): Client<typeof SessionService> {
  const upstream = { name: 'session-svc', urls: [`http://127.0.0.1:${port}`], rpc: { ...testRpc, token } }
  const transport = createRpcTransport(upstream, rpcClientMetrics(new Registry()))
  return createClient(SessionService, transport)
}

const failure = (call: Promise<unknown>) =>
  call.then(() => new ConnectError('it succeeded', Code.Unknown), ConnectError.from)

t.test('rejects calls without an accepted credential, except health and reflection', async (t) => {
  let calls = 0
  const { port, lines } = await serve(
    t,
    {
      listSessions() {
        calls += 1
        return {}
      }
    },
    { previousToken: 'the-one-before' }
  )
  for (const token of ['', 'wrong', `${testRpc.token}x`, testRpc.token.slice(1)]) {
    const error = await failure(createClient(SessionService, testTransport(port, token)).listSessions({}))
    t.equal(error.code, Code.Unauthenticated)
  }
  t.equal(calls, 0)
  t.equal(lines.filter((line) => line.includes('"code":"unauthenticated"')).length, 4)
  await createClient(SessionService, testTransport(port, 'the-one-before')).listSessions({})
  t.equal(calls, 1)
  const open = testTransport(port, '')
  t.equal((await createClient(Health, open).check({})).status, 1)
  t.equal((await failure(createClient(Health, open).check({ service: 'none' }))).code, Code.NotFound)
})

t.test('lists and describes services by reflection, unless it is turned off', async (t) => {
  async function* ask(messageRequest: { case: 'listServices' | 'fileContainingSymbol'; value: string }) {
    yield { messageRequest }
  }
  const answers = async (port: number, messageRequest: Parameters<typeof ask>[0]) => {
    const client = createClient(ServerReflection, testTransport(port, ''))
    return Array.fromAsync(client.serverReflectionInfo(ask(messageRequest)))
  }
  const on = await serve(t, {})
  const [listed] = await answers(on.port, { case: 'listServices', value: '' })
  t.match(listed?.messageResponse, { value: { service: [{ name: 'session.v1.SessionService' }, {}, {}] } })
  for (const symbol of ['session.v1.SessionService', 'session.v1.Session', 'google.rpc.BadRequest.FieldViolation']) {
    const [described] = await answers(on.port, { case: 'fileContainingSymbol', value: symbol })
    t.equal(described?.messageResponse.case, 'fileDescriptorResponse', symbol)
  }
  const off = await serve(t, {}, { reflection: false })
  await t.rejects(answers(off.port, { case: 'listServices', value: '' }), { code: Code.Unimplemented })
})

t.test('rejects unknown methods, oversized and malformed messages', async (t) => {
  const { client, port } = await serve(t, { validateSession: () => ({}) })
  t.equal((await failure(client.createSession({}))).code, Code.Unimplemented)
  t.equal((await failure(client.validateSession({ token: 'x'.repeat(70_000) }))).code, Code.ResourceExhausted)
  const { body: malformed } = await post(port, '/session.v1.SessionService/ValidateSession', '{"token":5}')
  t.match(JSON.parse(malformed), { code: 'invalid_argument' })
  const { status, body } = await post(port, '/session.v1.SessionService/Nope', '{}')
  t.equal(status, 404)
  t.match(JSON.parse(body), { code: 'unimplemented' })
})

t.test('ends a call at its deadline, or at the maximum, if its handler hangs', async (t) => {
  const signals: AbortSignal[] = []
  const never = (_: unknown, { signal }: { signal: AbortSignal }) => new Promise<never>(() => signals.push(signal))
  const { client, lines } = await serve(t, { listSessions: never }, { maxTimeout: 300 })
  for (const options of [{ timeoutMs: 100 }, {}]) {
    t.equal((await failure(client.listSessions({}, options))).code, Code.DeadlineExceeded)
  }
  await until(
    'both handlers have an aborted signal',
    () => signals.length === 2 && signals.every(({ aborted }) => aborted)
  )
  // The caller's own deadline may reach the server as a cancellation.
  const ends = () => lines.filter((line) => /"code":"(deadline_exceeded|canceled)"/.test(line)).length
  await until('both ends are logged', () => ends() === 2)
})

t.test('answers an unexpected error with `internal` without details, and logs its place', async (t) => {
  const { client, lines, registry } = await serve(t, {
    listSessions: () => {
      throw new TypeError('hunter2')
    }
  })
  const error = await failure(client.listSessions({}))
  t.match(error, { code: Code.Internal, rawMessage: 'Internal error.' })
  t.match(lines.join(''), /"level":"error".*"type":"TypeError".*transport-and-server\.test/)
  t.notMatch(lines.join(''), /hunter2/)
  const counted = 'grpc_service="session.v1.SessionService",grpc_method="ListSessions",grpc_code="internal"} 1'
  t.ok((await registry.metrics()).includes(counted))
})

t.test('passes on the trace and the remaining time', async (t) => {
  const seen: { traceparent: string | null; timeoutMs: number | undefined }[] = []
  const { port, lines } = await serve(t, {
    listSessions(_, context) {
      seen.push({ traceparent: context.requestHeader.get('traceparent'), timeoutMs: context.timeoutMs() })
      return {}
    }
  })
  const trace = newTrace()
  await caller(port).listSessions({}, propagate({ signal: AbortSignal.timeout(2000), timeoutMs: () => 1234.5, trace }))
  t.match(seen[0]?.traceparent, new RegExp(`^00-${trace.traceId}-(?!${trace.spanId})`))
  t.ok((seen[0]?.timeoutMs ?? 0) > 1000 && (seen[0]?.timeoutMs ?? 0) <= 1234)
  t.match(lines.join(''), trace.traceId)
})

t.test('maps errors of an upstream for the caller', async (t) => {
  let waiting = 0
  const never = () => {
    waiting += 1
    return new Promise<never>(() => {})
  }
  const { port, app } = await serve(t, {
    listSessions: () => {
      throw unavailable('down', 7)
    },
    validateSession: never,
    createSession: never
  })
  t.equal((await failure(caller(port).listSessions({}))).code, Code.Unavailable)
  t.equal(
    (await failure(caller(port, 'wrong').listSessions({}))).code,
    Code.Unavailable,
    'the own credential is rejected'
  )
  const lost = caller(port)
  const idempotent = failure(lost.validateSession({}))
  const other = failure(lost.createSession({}))
  await until('both calls wait', () => waiting === 2)
  // Like a killed process: the port is closed, so a retry finds no server.
  app.server.close()
  for (const socket of sockets(app.server)) socket.destroy()
  t.equal((await idempotent).code, Code.DeadlineExceeded, 'the outcome is unknown, and the retry found no server')
  t.equal((await other).code, Code.DeadlineExceeded, 'the outcome is unknown')
  t.equal((await failure(caller(1).listSessions({}))).code, Code.Unavailable)
})

t.test('reports a credential that the upstream rejects', async (t) => {
  const answer = 'a service whose credential its upstream rejects is not ready, names the upstream, and answers 503'
  await fieldCase(t, 25, answer, async (t) => {
    const { port } = await serve(t, { createSession: () => ({}) }, { previousToken: 'the-one-before' })
    for (const [token, isRejected] of [
      ['wrong', true],
      ['', true],
      ['the-one-before', false],
      [testRpc.token, false]
    ] as const) {
      const upstream = { name: 'session-svc', urls: [`http://127.0.0.1:${port}`], rpc: { ...testRpc, token } }
      const transport = createRpcTransport(upstream, rpcClientMetrics(new Registry()))
      const lines: string[] = []
      const log = createLogger('test', 'info', { write: (line: string) => void lines.push(line) })
      for (const required of ['always', 'at-start', 'never'] as const) {
        const dependency = { name: 'session-svc', required, probe: probeHealth(transport) }
        const readiness = watchReadiness([dependency], log, new Registry())
        t.teardown(readiness.stop)
        await until('it is probed', () => readiness.states()[0]?.reason !== 'not probed yet')
        t.equal(readiness.ready(), !isRejected, `${required}: ${token}`)
        const reason =
          'rejects the credential of this service (`rpc.ownToken`, or `rpc.token` without it, or `rpc.tls.cert` without both)'
        t.equal(readiness.states()[0]?.reason, isRejected ? reason : undefined)
        if (isRejected) t.match(lines.join(''), reason)
      }
      const error = await failure(createClient(SessionService, transport).createSession({}))
      if (isRejected) t.match(error, { code: Code.Unavailable, rawMessage: /^session-svc rejects the credential/ })
      else t.equal(error.rawMessage, 'it succeeded')
      if (token !== '') t.notMatch(lines.join(''), token)
    }
  })
})

t.test('closes without waiting for idle connections', async (t) => {
  const { app, client } = await serve(t, { listSessions: () => ({}) })
  await client.listSessions({})
  const startedAt = performance.now()
  await app.close()
  t.ok(performance.now() - startedAt < 5000)
})

/** A Connect call in JSON, by hand. */
async function post(port: number, path: string, body: string): Promise<{ status: number; body: string }> {
  const session = connect(`http://127.0.0.1:${port}`)
  const headers = {
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/json',
    authorization: `Bearer ${testRpc.token}`
  }
  const stream = session.request(headers)
  let status = 0
  stream.on('response', (response) => {
    status = Number(response[':status'])
  })
  stream.end(body)
  const chunks: Buffer[] = await Array.fromAsync(stream)
  session.close()
  return { status, body: Buffer.concat(chunks).toString() }
}
