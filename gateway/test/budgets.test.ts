/** The deadline of a request: it and the trace reach each upstream call, and it ends calls without a reply. */

import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import { requestOf, routes } from './all-routes.ts'
import {
  buildGateway,
  credentials,
  listen,
  loginAnswer,
  newSession,
  requireForm,
  serveUpstreams,
  workingServices
} from './gateway.ts'

const user = newSession()
const { headers, session } = user
const hang = () => new Promise<never>(() => {})
const hangingUsers = Object.fromEntries(UserService.methods.map(({ localName }) => [localName, hang]))

t.test('sends the time that is left and the trace with each call', async (t) => {
  const seen: { method: string; traceparent: string; timeoutMs: number }[] = []
  const note = (context: { method: { name: string }; requestHeader: Headers; timeoutMs(): number | undefined }) => {
    const traceparent = context.requestHeader.get('traceparent') ?? ''
    seen.push({ method: context.method.name, traceparent, timeoutMs: context.timeoutMs() ?? Infinity })
  }
  const validationMs = 500
  const { parts } = await serveUpstreams(t, {
    users: {
      authenticateAndLogin: (_, context) => {
        note(context)
        return loginAnswer()
      },
      deleteAccount: (_, context) => {
        note(context)
        return {}
      }
    },
    sessions: {
      validateSession: async (_, context) => {
        note(context)
        await sleep(validationMs)
        return { result: { case: 'session' as const, value: session } }
      }
    }
  })
  const { app } = await buildGateway(t, { parts })
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const traced = { ...headers, traceparent: `00-${traceId}-b7ad6b7169203331-01` }
  const login = await app.inject({ method: 'POST', url: '/auth', payload: credentials, headers: traced })
  t.equal(login.headers['x-request-id'], traceId)
  await app.inject({ method: 'DELETE', url: '/delete', headers: traced })
  t.same(
    seen.map(({ method }) => method),
    ['AuthenticateAndLogin', 'ValidateSessions', 'DeleteAccount']
  )
  t.ok(seen.every(({ traceparent }) => traceparent.startsWith(`00-${traceId}-`)))
  t.equal(new Set(seen.map(({ traceparent }) => traceparent)).size, 3, 'each call has a span of its own')
  const [login1, validation, deletion] = seen.map(({ timeoutMs }) => timeoutMs) as [number, number, number]
  t.ok(login1 > 1000 && login1 <= 5000, `${login1} ms of 5 s`)
  t.ok(validation > 1000 && validation <= 3000, `${validation} ms of 3 s`)
  t.ok(deletion > 0 && deletion <= 3000 - validationMs, `${deletion} ms after the validation`)
})

t.test('answers 504 or 503 when the services do not reply within the budget', async (t) => {
  const budgetMs = 300
  const timeoutMs = 10_000
  const { parts } = await serveUpstreams(t, { users: hangingUsers, sessions: { validateSession: hang } })
  const { app } = await buildGateway(t, { parts, budgetMs })
  for (const route of routes) {
    const startedAt = performance.now()
    const answer = await app.inject(requestOf(route, headers))
    requireForm(t, answer, route.validates ? 503 : 504, route.name)
    const tookMs = performance.now() - startedAt
    t.ok(tookMs < timeoutMs, `${route.name}: ${Math.round(tookMs)} ms`)
  }
  const { sessions } = workingServices(user)
  const half = { users: hangingUsers, sessions: { ...sessions, listSessions: hang, deleteSession: hang } }
  const { parts: validating } = await serveUpstreams(t, half)
  const { app: validated } = await buildGateway(t, { parts: validating, budgetMs })
  for (const route of routes.filter(({ validates, name }) => validates && name !== 'GET /session')) {
    requireForm(t, await validated.inject(requestOf(route, headers)), 504, `${route.name} after its validation`)
  }
})

t.test('cancels the upstream call when the client disconnects, and counts no server error', async (t) => {
  const signals: AbortSignal[] = []
  const waitForAbort = (_: unknown, { signal }: { signal: AbortSignal }) =>
    new Promise<never>(() => void signals.push(signal))
  const { parts } = await serveUpstreams(t, {
    users: { authenticateAndLogin: waitForAbort },
    sessions: { validateSession: waitForAbort }
  })
  const { app, lines, registry } = await buildGateway(t, { parts })
  const port = await listen(app)
  for (const [method, path] of [
    ['POST', '/auth'],
    ['GET', '/session']
  ] as const) {
    const count = signals.length
    const client = httpRequest({ port, method, path, headers: { ...headers, 'content-type': 'application/json' } })
    client.on('error', () => {}).end(method === 'POST' ? JSON.stringify(credentials) : undefined)
    await until('the call arrives', () => signals.length > count)
    await sleep(50)
    t.equal(signals.at(-1)?.aborted, false, 'a body that has been read ends nothing')
    client.destroy()
    await until('the call is cancelled', () => signals.at(-1)?.aborted === true)
  }
  await until('both requests have ended', () => app.requestsInFlight() === 0)
  t.notMatch(lines.join(''), /"level":"error"/)
  t.notMatch(await registry.metrics(), /request_errors_total\{error_class="server",code="\w+"\} [1-9]/)
})

t.test('makes no upstream call for a client that has disconnected before it', async (t) => {
  let calls = 0
  const authenticateAndLogin = () => {
    calls += 1
    return loginAnswer()
  }
  const { parts } = await serveUpstreams(t, { users: { authenticateAndLogin } })
  const { app } = await buildGateway(t, { parts })
  const codes: unknown[] = []
  app.addHook('preHandler', async (_request, reply) => {
    client.destroy()
    await once(reply.raw, 'close')
  })
  app.addHook('onError', async (_request, _reply, error) => void codes.push(ConnectError.from(error).code))
  const port = await listen(app)
  const json = { 'content-type': 'application/json' }
  const client = httpRequest({ port, method: 'POST', path: '/auth', headers: json })
  client.on('error', () => {}).end(JSON.stringify(credentials))
  await until('the request fails', () => codes.length === 1)
  t.same(codes, [Code.Canceled])
  t.equal(calls, 0)
})
