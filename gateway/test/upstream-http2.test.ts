/** The gateway and its services over real HTTP/2: refused credentials, outages, cut connections and replies that are none. */

import type { Socket } from 'node:net'
import { Code, ConnectError } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { reasoned } from '#common/errors/connect-errors.ts'
import { routes, statuses } from './all-routes.ts'
import { buildGateway, credentials, newSession, requireForm, serveUpstreams } from './gateway.ts'

const { headers, session } = newSession()
const validSession = () => ({ result: { case: 'session' as const, value: session } })

/** A gateway before services whose every method fails alike. */
async function failing(t: Test, error: Error) {
  const fail = () => {
    throw error
  }
  const users = { registerAndLogin: fail, authenticateAndLogin: fail, logout: fail, deleteAccount: fail }
  const { parts } = await serveUpstreams(t, { users, sessions: { validateSession: fail } })
  return buildGateway(t, { parts })
}

t.test('each code has its status, on the way through both processes', async (t) => {
  const expected: [Code, status: number][] = [
    [Code.InvalidArgument, 400],
    [Code.FailedPrecondition, 400],
    [Code.OutOfRange, 400],
    [Code.NotFound, 404],
    [Code.AlreadyExists, 409],
    [Code.ResourceExhausted, 429],
    // Without a reason of its contract: the service rejects the credential of the gateway.
    [Code.Unauthenticated, 503],
    [Code.PermissionDenied, 503],
    [Code.Unknown, 500],
    [Code.Internal, 500],
    [Code.DataLoss, 500],
    [Code.Unimplemented, 501],
    [Code.Unavailable, 503],
    [Code.DeadlineExceeded, 504],
    // What was cut off may have been done.
    [Code.Canceled, 504],
    [Code.Aborted, 504]
  ]
  t.equal(new Set(expected.map(([code]) => code)).size, 16)
  for (const [code, status] of expected) {
    const sentence = status < 500 ? 'A sentence.' : 'hunter2'
    const { app } = await failing(t, new ConnectError(sentence, code))
    t.same(await statuses(t, app, headers), [status, status, status, 503, 503], Code[code])
  }
})

t.test('errors of one code are byte-identical but for the trace id, whatever was said inside', async (t) => {
  for (const code of [Code.Internal, Code.Unknown, Code.DataLoss, Code.Unavailable, Code.DeadlineExceeded]) {
    const forms = new Set<string>()
    for (const text of ['hunter2', 'hunter2 '.repeat(50)]) {
      const { app } = await failing(t, new ConnectError(text, code, { 'x-secret': 'hunter2' }))
      for (const [method, url] of routes.slice(0, 2)) {
        const answer = await app.inject({ method, url, payload: credentials })
        const { 'x-request-id': id, traceparent: _, date: __, ...rest } = answer.headers
        forms.add(answer.body.replace(String(id), '') + JSON.stringify(rest))
      }
    }
    t.equal(forms.size, 1, [...forms].join('\n'))
    t.notMatch([...forms][0], /hunter2/)
  }
})

t.test('only a rejection of the credentials is 401', async (t) => {
  const rejected = reasoned(Code.Unauthenticated, 'Wrong.', { domain: 'user.v1', reason: 'CREDENTIALS_REJECTED' })
  const { app } = await failing(t, rejected)
  const answer = await app.inject({ method: 'POST', url: '/auth', payload: credentials })
  requireForm(t, answer, 401)
  t.match(answer.headers['www-authenticate'], /^Bearer/)
  const other = reasoned(Code.Unauthenticated, 'hunter2', { domain: 'session.v1', reason: 'SOMETHING_ELSE' })
  t.same(await statuses(t, (await failing(t, other)).app, headers), [503, 503, 503, 503, 503], 'another reason')
})

t.test('a service credential that is refused is never the fault of the user', async (t) => {
  const { parts } = await serveUpstreams(t, { sessions: { validateSession: validSession } }, 'another-token')
  const { app } = await buildGateway(t, { parts })
  t.same(await statuses(t, app, headers), [503, 503, 503, 503, 503])
})

t.test('a connection that is cut in mid-call leaves a write unknown, and never looks like a log-out', async (t) => {
  const hang = () => new Promise<never>(() => {})
  const users = { registerAndLogin: hang, authenticateAndLogin: hang, logout: hang, deleteAccount: hang }
  const { parts, server } = await serveUpstreams(t, { users, sessions: { validateSession: hang } })
  const sockets = new Set<Socket>()
  server.server.on('connection', (socket: Socket) => sockets.add(socket))
  const { app } = await buildGateway(t, { parts })
  const expected = { '/reg': 504, '/auth': 504, '/logout': 504, '/delete': 503, '/session': 503 }
  for (const [method, url] of routes) {
    const pending = app.inject({ method, url, headers, ...(method === 'POST' && { payload: credentials }) })
    // Again and again: a call that may be repeated is, over a new connection.
    const cutting = setInterval(() => {
      for (const socket of sockets) socket.destroy()
    }, 100)
    requireForm(t, await pending, expected[url], url)
    clearInterval(cutting)
  }
})
