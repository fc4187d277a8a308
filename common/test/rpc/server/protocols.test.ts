/** The RPC server with clients of all three protocols, over HTTP/2 and HTTP/1.1: errors, deadlines, closing. */

import { once } from 'node:events'
import { connect } from 'node:http2'
import { Code, ConnectError, createClient, type Interceptor, type ServiceImpl } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { buildSessionServer } from '#common/test/rpc/session-server.ts'
import { alwaysReady, testRpc } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'
import { ServerReflection } from '#gen/grpc/reflection/v1/reflection_pb.ts'
import { ServerReflection as ServerReflectionAlpha } from '#gen/grpc/reflection/v1alpha/reflection_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'

type Options = Parameters<typeof createConnectTransport>[0]

const protocols = {
  grpc: createGrpcTransport,
  web: createGrpcWebTransport,
  connect: createConnectTransport,
  // The way without connect-fastify, which the services take.
  direct: (options: Options) => createConnectTransport({ ...options, useBinaryFormat: true, acceptCompression: [] }),
  http1: (options: Options) => createConnectTransport({ ...options, httpVersion: '1.1' } as Options)
}

async function serve(
  t: Test,
  handlers: Partial<ServiceImpl<typeof SessionService>>,
  rpc: Partial<typeof testRpc> = {},
  readiness = alwaysReady
) {
  const lines: string[] = []
  const registry = new Registry()
  const app = buildSessionServer(handlers, {
    log: createLogger('test', 'info', { write: (line: string) => void lines.push(line) }),
    registry,
    readiness,
    rpc: { ...testRpc, ...rpc }
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const { port } = app.server.address() as { port: number }
  return { app, port, lines, registry }
}

function transport(protocol: keyof typeof protocols, port: number, token = testRpc.token) {
  const authorized: Interceptor = (next) => (request) => {
    if (token !== '') request.header.set('authorization', `Bearer ${token}`)
    return next(request)
  }
  const options = { baseUrl: `http://127.0.0.1:${port}`, httpVersion: '2' as const, interceptors: [authorized] }
  return protocols[protocol]({ ...options, idleConnectionTimeoutMs: 50 })
}

const failure = (call: Promise<unknown>) =>
  call.then(() => new ConnectError('it succeeded', Code.Unknown), ConnectError.from)

for (const protocol of Object.keys(protocols) as (keyof typeof protocols)[]) {
  t.test(`${protocol}: rejects invalid calls`, async (t) => {
    let calls = 0
    const { port, lines, registry } = await serve(t, {
      validateSession() {
        calls += 1
        return { result: { case: 'invalid', value: {} } }
      },
      listSessions() {
        throw new TypeError('hunter2')
      }
    })
    const sessions = createClient(SessionService, transport(protocol, port))
    for (const token of ['', 'wrong', `${testRpc.token} x`, testRpc.token.toLowerCase()]) {
      const client = createClient(SessionService, transport(protocol, port, token))
      t.equal((await failure(client.validateSession({ token: 'x' }))).code, Code.Unauthenticated, token)
    }
    t.equal(calls, 0)
    t.equal((await failure(sessions.validateSession({ token: 'x'.repeat(70_000) }))).code, Code.ResourceExhausted)
    t.equal(calls, 0)
    t.equal((await failure(sessions.createSession({}))).code, Code.Unimplemented, 'a method that is not implemented')
    const users = createClient(UserService, transport(protocol, port))
    t.equal((await failure(users.logout({}))).code, Code.Unimplemented, 'a service that is not served')
    const bug = await failure(sessions.listSessions({}))
    t.match([bug.code, bug.rawMessage, bug.details], [Code.Internal, 'Internal error.', []])
    t.notMatch(JSON.stringify([...bug.metadata]), /hunter2|TypeError/)
    await sessions.validateSession({ token: 'x' })
    const metrics = await registry.metrics()
    const counted = { unauthenticated: 4, ok: 1 }
    for (const [code, count] of Object.entries(counted)) {
      const series = `grpc_method="ValidateSession",grpc_code="${code}"} ${count}`
      t.ok(metrics.includes(series), series)
    }
    t.match(lines.join(''), /"level":"error".*"type":"TypeError"/)
    t.notMatch(lines.join(''), testRpc.token)
  })

  t.test(`${protocol}: ends calls at their deadlines`, async (t) => {
    const { port } = await serve(t, { listSessions: () => new Promise(() => {}) })
    const client = createClient(SessionService, transport(protocol, port))
    const startedAt = performance.now()
    t.equal((await failure(client.listSessions({}, { timeoutMs: 200 }))).code, Code.DeadlineExceeded)
    const tookMs = performance.now() - startedAt
    t.ok(tookMs > 150, `${Math.round(tookMs)} ms`)
  })

  t.test(`${protocol}: serves health and reflection without a credential`, async (t) => {
    const { port } = await serve(t, {})
    const open = transport(protocol, port, '')
    t.equal((await createClient(Health, open).check({ service: 'session.v1.SessionService' })).status, Status.SERVING)
    // Reflection is a stream in both directions, which HTTP/1.1 does not have.
    if (protocol === 'http1') return
    async function* ask() {
      yield { messageRequest: { case: 'listServices' as const, value: '' } }
    }
    for (const service of [ServerReflection, ServerReflectionAlpha as unknown as typeof ServerReflection]) {
      const [answer] = await Array.fromAsync(createClient(service, open).serverReflectionInfo(ask()))
      t.match(answer?.messageResponse, { case: 'listServicesResponse' })
    }
  })

  t.test(`${protocol}: rejects reflection if it is turned off`, async (t) => {
    const { port } = await serve(t, {}, { reflection: false })
    async function* ask() {
      yield { messageRequest: { case: 'listServices' as const, value: '' } }
    }
    const client = createClient(ServerReflection, transport(protocol, port, ''))
    t.equal((await failure(Array.fromAsync(client.serverReflectionInfo(ask())))).code, Code.Unimplemented)
  })
}

t.test('reports readiness by health checks and to watchers', async (t) => {
  let ready = false
  let draining = false
  const readiness = { ...alwaysReady, ready: () => ready, draining: () => draining }
  const { port } = await serve(t, {}, {}, readiness)
  const health = createClient(Health, transport('grpc', port, ''))
  t.equal((await health.check({})).status, Status.NOT_SERVING)
  const seen: Status[] = []
  const watching = (async () => {
    for await (const { status } of health.watch({})) seen.push(status)
  })()
  await until('the first status has arrived', () => seen.length === 1)
  ready = true
  await until('the second status has arrived', () => seen.length === 2)
  draining = true
  await watching
  t.same(seen, [Status.NOT_SERVING, Status.SERVING])
})

t.test('closes without waiting for a client that does not read its response', async (t) => {
  const { port, app } = await serve(t, {})
  const session = connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  const stream = session.request({ ':method': 'POST', ':path': '/nothing' })
  stream.end('{}')
  await once(stream, 'response')
  const startedAt = performance.now()
  await app.close()
  t.ok(performance.now() - startedAt < 5000, 'it has closed')
})

t.test('finishes an in-flight call while it closes, beside an idle client', async (t) => {
  const [arrived, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const { port, app } = await serve(t, {
    listSessions: async () => {
      arrived.resolve()
      await released.promise
      return {}
    }
  })
  const idle = createClient(Health, transport('connect', port))
  await idle.check({})
  const running = createClient(SessionService, transport('connect', port)).listSessions({})
  await arrived.promise
  const closing = app.close()
  released.resolve()
  t.same((await running).sessions, [])
  await closing
})

t.test('sends an uncompressed response to a caller that accepts compression', async (t) => {
  const userId = 'x'.repeat(4000)
  const { port } = await serve(t, { listSessions: () => ({ sessions: [{ userId }] }) })
  const encoding = async (useBinaryFormat: boolean) => {
    let found: string | null = null
    const onHeader = (headers: Headers) => {
      found = headers.get('content-encoding')
    }
    const authorization = `Bearer ${testRpc.token}`
    const baseUrl = `http://127.0.0.1:${port}`
    const options = { baseUrl, httpVersion: '2', useBinaryFormat, idleConnectionTimeoutMs: 50 } as const
    const client = createClient(SessionService, createConnectTransport(options))
    const { sessions } = await client.listSessions({ userId: 'x' }, { headers: { authorization }, onHeader })
    t.equal(sessions[0]?.userId, userId)
    return found
  }
  t.equal(await encoding(true), null)
  t.equal(await encoding(false), 'gzip', 'connect-fastify compresses it')
})

t.test('answers `internal` if the response cannot be encoded, and logs the error', async (t) => {
  const createdAt = { seconds: 2n ** 70n }
  const { port, lines } = await serve(t, { listSessions: () => ({ sessions: [{ createdAt }] }) })
  const failed = await failure(createClient(SessionService, transport('direct', port)).listSessions({ userId: 'x' }))
  t.match([failed.code, failed.rawMessage], [Code.Internal, 'Internal error.'])
  t.match(JSON.parse(lines.at(-1) ?? ''), { level: 'error', event: 'rpc_served', code: 'internal', err: {} })
})
