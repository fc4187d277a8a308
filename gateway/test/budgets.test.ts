/** One deadline for all that a request causes: it and the trace arrive with each call, and it ends what hangs. */

import { request as httpRequest } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { buildGateway, credentials, listen, loginAnswer, newSession, requireForm, serveUpstreams } from './gateway.ts'

const { headers, session } = newSession()
const validSession = () => ({ result: { case: 'session' as const, value: session } })

t.test('what is left of the budget and the trace arrive with each call', async (t) => {
  const seen: { method: string; traceparent: string; timeoutMs: number }[] = []
  const note = (context: { method: { name: string }; requestHeader: Headers; timeoutMs(): number | undefined }) => {
    const traceparent = context.requestHeader.get('traceparent') ?? ''
    seen.push({ method: context.method.name, traceparent, timeoutMs: context.timeoutMs() ?? Infinity })
  }
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
        await new Promise((resolve) => setTimeout(resolve, 500))
        return validSession()
      }
    }
  })
  const { app } = await buildGateway(t, { parts })
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const traced = { ...headers, traceparent: `00-${traceId}-b7ad6b7169203331-01` }
  const login = await app.inject({ method: 'POST', url: '/auth', payload: credentials, headers: traced })
  t.equal(login.headers['x-request-id'], traceId)
  await app.inject({ method: 'DELETE', url: '/delete', headers: traced })
  const within = (low: number, high: number) => (ms: number | undefined) => ms !== undefined && ms > low && ms <= high
  t.same(
    seen.map(({ method }) => method),
    ['AuthenticateAndLogin', 'ValidateSessions', 'DeleteAccount']
  )
  t.ok(seen.every(({ traceparent }) => traceparent.startsWith(`00-${traceId}-`)))
  t.equal(new Set(seen.map(({ traceparent }) => traceparent)).size, 3, 'each call is a step of its own')
  t.ok(within(4500, 5000)(seen[0]?.timeoutMs), `${seen[0]?.timeoutMs}`)
  t.ok(within(2500, 3000)(seen[1]?.timeoutMs), `${seen[1]?.timeoutMs}`)
  t.ok(within(2000, 2550)(seen[2]?.timeoutMs), `the second call is told what is left: ${seen[2]?.timeoutMs}`)
})

t.test('services that never answer cost the budget and no more, over HTTP/2', async (t) => {
  const hang = () => new Promise<never>(() => {})
  const users = { registerAndLogin: hang, authenticateAndLogin: hang, logout: hang, deleteAccount: hang }
  const silent = await serveUpstreams(t, { users, sessions: { validateSession: hang } })
  const budgets = { reg: 300, auth: 300, logout: 300, delete: 300, session: 300 }
  const { app } = await buildGateway(t, { parts: silent.parts, options: { budgets } })
  const cases = [
    ['POST', '/reg', 504],
    ['POST', '/auth', 504],
    ['DELETE', '/logout', 504],
    ['DELETE', '/delete', 503],
    ['GET', '/session', 503]
  ] as const
  for (const [method, url, status] of cases) {
    const startedAt = performance.now()
    const answer = await app.inject({ method, url, headers, ...(method === 'POST' && { payload: credentials }) })
    const tookMs = performance.now() - startedAt
    requireForm(t, answer, status, url)
    t.ok(tookMs > 250 && tookMs < 600, `${url}: ${Math.round(tookMs)} ms`)
  }
  const alive = await serveUpstreams(t, { users, sessions: { validateSession: validSession } })
  const { app: half } = await buildGateway(t, { parts: alive.parts, options: { budgets } })
  requireForm(t, await half.inject({ method: 'DELETE', url: '/delete', headers }), 504, 'the deletion itself')
})

t.test('a client that goes away ends the call that it caused, over HTTP/2', async (t) => {
  const signals: AbortSignal[] = []
  const hang = (_: unknown, { signal }: { signal: AbortSignal }) => new Promise<never>(() => signals.push(signal))
  const { parts } = await serveUpstreams(t, {
    users: { authenticateAndLogin: hang },
    sessions: { validateSession: hang }
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
    for (let waited = 0; signals.length === count && waited < 1000; waited += 10) await sleep(10)
    await sleep(50)
    t.equal(signals.at(-1)?.aborted, false, 'as long as the client is there, the call goes on')
    client.destroy()
    for (let waited = 0; !signals.at(-1)?.aborted && waited < 900; waited += 10) await sleep(10)
    t.equal(signals.at(-1)?.aborted, true, path)
  }
  await sleep(50)
  t.notMatch(lines.join(''), /"level":"error"/, 'a client that goes away is no error of the server')
  t.notMatch(await registry.metrics(), /request_errors_total\{error_class="server",code="\w+"\} [1-9]/)
})
