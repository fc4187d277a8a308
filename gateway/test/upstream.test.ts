/** What the gateway makes of its upstreams' answers: each code its status, an outage never a log-out, one deadline. */

import { request as httpRequest } from 'node:http'
import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { invalidFields, reasoned, tooManyRequests, unavailable } from '#common/errors/connect-errors.ts'
import { InvalidReason } from '#gen/session/v1/session_pb.ts'
import { authorization, buildGateway, json, session, token, userId } from './service.ts'

const body = { email: 'ada@example.org', password: 'correct horse' }
const never = (_: unknown, { signal }: { signal: AbortSignal }) =>
  new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
const routes = [
  ['POST', '/reg', 'registerAndLogin'],
  ['POST', '/auth', 'authenticateAndLogin'],
  ['DELETE', '/logout', 'logout'],
  ['DELETE', '/delete', 'deleteAccount']
] as const

t.test('success has the shape that was promised', async (t) => {
  const { app } = await buildGateway(t)
  const registered = await app.inject({ method: 'POST', url: '/reg', payload: body })
  t.equal(registered.statusCode, 201)
  t.match(registered.json(), { user: { id: userId, email: body.email }, session: { token } })
  const seen = await app.inject({ url: '/session', headers: authorization })
  t.match(seen.json(), { user: { id: userId }, session: { id: session().id } })
  t.equal(seen.headers['x-user-id'], userId)
  for (const url of ['/logout', '/delete']) {
    const response = await app.inject({ method: 'DELETE', url, headers: { ...authorization, ...json } })
    t.equal(response.statusCode, 204)
    t.equal(response.body, '')
  }
})

t.test('each code of an upstream has its status', async (t) => {
  const reason = { domain: 'user.v1', reason: 'CREDENTIALS_REJECTED' }
  const cases: [ConnectError, number][] = [
    [invalidFields([{ field: 'password', description: 'is too short' }]), 400],
    [reasoned(Code.Unauthenticated, 'The address or the password is wrong.', reason), 401],
    [new ConnectError('taken', Code.AlreadyExists), 409],
    [tooManyRequests(7), 429],
    [unavailable('hunter2', 7), 503],
    [new ConnectError('hunter2', Code.DeadlineExceeded), 504],
    [new ConnectError('hunter2', Code.Internal), 500],
    [new ConnectError('hunter2', Code.Unknown), 500],
    [new ConnectError('hunter2', Code.DataLoss), 500],
    [new ConnectError('hunter2', Code.Unimplemented), 501]
  ]
  for (const [error, status] of cases) {
    const fail = () => {
      throw error
    }
    const { app, registry } = await buildGateway(t, {
      users: { registerAndLogin: fail, authenticateAndLogin: fail, logout: fail, deleteAccount: fail }
    })
    const bodies = new Set<string>()
    for (const [method, url] of routes) {
      const options = method === 'POST' ? { payload: body } : {}
      const response = await app.inject({ method, url, headers: authorization, ...options })
      t.equal(response.statusCode, status, `${url} ${error.message}`)
      const { traceId, ...rest } = response.json()
      bodies.add(JSON.stringify(rest))
      if (status === 503 || status === 429) t.equal(response.headers['retry-after'], '7')
      if (status === 401) t.ok(response.headers['www-authenticate'])
    }
    t.equal(bodies.size, 1, 'the bodies are the same but for the trace id')
    t.notMatch([...bodies].join(), /hunter2/)
    const errorClass = status < 500 ? 'client' : 'server'
    const other = errorClass === 'client' ? 'server' : 'client'
    const metrics = await registry.metrics()
    t.match(metrics, new RegExp(`request_errors_total\\{error_class="${errorClass}",code="[a-z_]+"\\} 4`))
    t.notMatch(metrics, new RegExp(`request_errors_total\\{error_class="${other}",code="[a-z_]+"\\} [1-9]`))
  }
})

t.test('a reply that lacks a part authorises nobody', async (t) => {
  const { app } = await buildGateway(t, {
    users: { authenticateAndLogin: () => ({ token }), registerAndLogin: () => ({}) },
    sessions: { validateSession: () => ({}) }
  })
  for (const url of ['/auth', '/reg'])
    t.equal((await app.inject({ method: 'POST', url, payload: body })).statusCode, 500)
  t.equal((await app.inject({ url: '/session', headers: authorization })).statusCode, 503)
  t.equal((await app.inject({ method: 'DELETE', url: '/delete', headers: authorization })).statusCode, 503)
})

t.test('only a session that is known not to be valid is 401; whatever keeps that unknown is 503', async (t) => {
  for (const reason of [InvalidReason.NOT_FOUND, InvalidReason.REVOKED, InvalidReason.MALFORMED]) {
    const validateSession = () => ({ result: { case: 'invalid' as const, value: { reason } } })
    const { app } = await buildGateway(t, { sessions: { validateSession } })
    t.equal((await app.inject({ url: '/session', headers: authorization })).statusCode, 401)
  }
  const codes = [
    Code.Unauthenticated,
    Code.Unavailable,
    Code.DeadlineExceeded,
    Code.Internal,
    Code.NotFound,
    Code.Canceled,
    Code.PermissionDenied
  ]
  for (const code of codes) {
    const validateSession = () => {
      throw new ConnectError('x', code)
    }
    const { app } = await buildGateway(t, { sessions: { validateSession } })
    for (const [method, url] of [
      ['GET', '/session'],
      ['DELETE', '/delete']
    ] as const) {
      const response = await app.inject({ method, url, headers: authorization })
      t.equal(response.statusCode, 503, Code[code])
      t.ok(response.headers['retry-after'])
    }
  }
})

t.test('an upstream that never answers costs no more than the budget', async (t) => {
  const budgets = Object.fromEntries(
    ['SESSION', 'LOGOUT', 'DELETE', 'REG', 'AUTH'].map((route) => [`GATEWAY_BUDGETS_${route}`, '150ms'])
  )
  const users = { registerAndLogin: never, authenticateAndLogin: never, logout: never, deleteAccount: never }
  const { app } = await buildGateway(t, { users, sessions: { validateSession: never } }, budgets)
  const cases = [
    ...routes.slice(0, 3).map((route) => [...route, 504] as const),
    ['GET', '/session', '', 503],
    ['DELETE', '/delete', '', 503]
  ] as const
  for (const [method, url, , status] of cases) {
    const startedAt = performance.now()
    const options = method === 'POST' ? { payload: body } : {}
    const response = await app.inject({ method, url, headers: authorization, ...options })
    t.equal(response.statusCode, status, url)
    const took = performance.now() - startedAt
    t.ok(took > 100 && took < 650, `${url}: ${Math.round(took)} ms`)
  }
})

t.test('the trace, what is left of the budget, and the end of the client reach the upstream', async (t) => {
  const seen: { traceparent: string | null; timeoutMs: number | undefined; signal: AbortSignal }[] = []
  const { app } = await buildGateway(t, {
    users: {
      authenticateAndLogin(request, context) {
        seen.push({
          traceparent: context.requestHeader.get('traceparent'),
          timeoutMs: context.timeoutMs(),
          signal: context.signal
        })
        return never(request, context)
      }
    }
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as { port: number }
  const client = httpRequest({ port, method: 'POST', path: '/auth', headers: json })
  client.on('error', () => {})
  client.end(JSON.stringify(body))
  for (let waited = 0; seen.length === 0 && waited < 2000; waited += 10)
    await new Promise((resolve) => setTimeout(resolve, 10))
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(seen[0]?.signal.aborted, false, 'a body that has been read ends nothing')
  t.ok((seen[0]?.timeoutMs ?? 0) > 4000)
  client.destroy()
  for (let waited = 0; !seen[0]?.signal.aborted && waited < 2000; waited += 10)
    await new Promise((resolve) => setTimeout(resolve, 10))
  t.ok(seen[0]?.signal.aborted)
})

t.test('an account is deleted by a recent session only', async (t) => {
  const old = { validateSession: () => ({ result: { case: 'session' as const, value: session(16 * 60_000) } }) }
  const deleted: string[] = []
  const users = {
    deleteAccount(request: { userId: string }) {
      deleted.push(request.userId)
      return {}
    }
  }
  const remove = { method: 'DELETE', url: '/delete', headers: authorization } as const
  const stale = await buildGateway(t, { users, sessions: old })
  t.equal((await stale.app.inject(remove)).statusCode, 403)
  t.same(deleted, [])
  const wide = await buildGateway(t, { users, sessions: old }, { GATEWAY_REAUTHENTICATION_WINDOW: '1h' })
  t.equal((await wide.app.inject(remove)).statusCode, 204)
  t.same(deleted, [userId])
})

t.test('a log-in passes on the token that it replaces, and nothing that is no token', async (t) => {
  const seen: (string | undefined)[] = []
  const { app } = await buildGateway(t, {
    users: {
      authenticateAndLogin({ replacesToken }) {
        seen.push(replacesToken)
        throw new ConnectError('enough', Code.Unavailable)
      }
    }
  })
  for (const headers of [authorization, {}, { authorization: 'Bearer garbage' }, { authorization: token }]) {
    t.equal((await app.inject({ method: 'POST', url: '/auth', payload: body, headers })).statusCode, 503)
  }
  t.same(seen, [token, undefined, undefined, undefined])
})

t.test('the description of the routes', async (t) => {
  const { app } = await buildGateway(t)
  const description = (await app.inject('/openapi.json')).json()
  t.equal(description.openapi, '3.1.0')
  t.same(Object.keys(description.paths).sort(), ['/auth', '/delete', '/logout', '/reg', '/session'])
  for (const path of Object.values(description.paths) as Record<
    string,
    { responses: Record<string, { content?: object }> }
  >[]) {
    for (const { responses } of Object.values(path)) {
      t.ok(responses['503']?.content && 'application/problem+json' in responses['503'].content)
      t.match(Object.keys(responses)[0], /^20[014]$/)
    }
  }
  t.match(JSON.stringify(description), /"examples?":/)
  t.equal((await app.inject('/docs/')).statusCode, 200)
  const { app: silent } = await buildGateway(t, {}, { GATEWAY_DOCS: 'false' })
  for (const url of ['/openapi.json', '/docs', '/docs/']) t.equal((await silent.inject(url)).statusCode, 404)
})
