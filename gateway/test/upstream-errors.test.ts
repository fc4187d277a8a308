/** Errors of the services over real HTTP/2: each code has its status, and an outage is never a 401. */

import type { Socket } from 'node:net'
import { Code, ConnectError } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { errorWithReason, tooManyRequests, unavailable } from '#common/errors/connect-errors.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import { requestOf, routes, statuses, statusOfEach } from './all-routes.ts'
import { buildGateway, newSession, requireForm, serveUpstreams, type Upstreams, workingServices } from './gateway.ts'

const user = newSession()
const { headers } = user

/** Services whose every method has the same implementation. */
function allMethods(method: () => never | Promise<never>): Upstreams {
  const sessions = Object.fromEntries(SessionService.methods.map(({ localName }) => [localName, method]))
  return { ...allUserMethods(method), sessions }
}

function allUserMethods(method: () => never | Promise<never>): Upstreams {
  return { users: Object.fromEntries(UserService.methods.map(({ localName }) => [localName, method])) }
}

/** A gateway whose services fail every call. */
async function failing(t: Test, error: Error) {
  const fail = () => {
    throw error
  }
  const { parts } = await serveUpstreams(t, allMethods(fail))
  return buildGateway(t, { parts })
}

/** A failed validation is 503, with any code. */
const unlessValidated = (status: number) => statusOfEach(({ validates }) => (validates ? 503 : status))
const everyRoute503 = statusOfEach(() => 503)

t.test('maps each code to its status, and every failed validation to 503', async (t) => {
  const expected: [Code, status: number][] = [
    [Code.InvalidArgument, 400],
    [Code.FailedPrecondition, 400],
    [Code.OutOfRange, 400],
    [Code.NotFound, 404],
    [Code.AlreadyExists, 409],
    [Code.ResourceExhausted, 429],
    // Without a reason of the contract, the service rejects the credential of the gateway.
    [Code.Unauthenticated, 503],
    [Code.PermissionDenied, 503],
    [Code.Unknown, 500],
    [Code.Internal, 500],
    [Code.DataLoss, 500],
    [Code.Unimplemented, 501],
    [Code.Unavailable, 503],
    [Code.DeadlineExceeded, 504],
    // An interrupted call may have been applied.
    [Code.Canceled, 504],
    [Code.Aborted, 504]
  ]
  t.equal(new Set(expected.map(([code]) => code)).size, 16)
  for (const [code, status] of expected) {
    const sentence = status < 500 ? 'A sentence.' : 'hunter2'
    const { app } = await failing(t, new ConnectError(sentence, code))
    t.same(await statuses(t, app, headers), unlessValidated(status), Code[code])
  }
})

t.test('passes the Retry-After of a service on', async (t) => {
  for (const error of [tooManyRequests(7), unavailable('hunter2', 7)]) {
    const { app } = await failing(t, error)
    for (const route of routes.filter(({ validates }) => !validates)) {
      const answer = await app.inject(requestOf(route, headers))
      t.equal(answer.headers['retry-after'], '7', `${route.name} ${Code[error.code]}`)
    }
  }
})

t.test('answers errors of one code by the same bytes but for the trace id', async (t) => {
  for (const code of [Code.Internal, Code.Unknown, Code.DataLoss, Code.Unavailable, Code.DeadlineExceeded]) {
    const forms = new Set<string>()
    for (const text of ['hunter2', 'hunter2 '.repeat(50)]) {
      const { app } = await failing(t, new ConnectError(text, code, { 'x-secret': 'hunter2' }))
      for (const route of routes.filter(({ validates }) => !validates)) {
        const answer = await app.inject(requestOf(route, headers))
        const { 'x-request-id': id, traceparent: _, date: __, ...others } = answer.headers
        forms.add(answer.body.replace(String(id), '') + JSON.stringify(others))
      }
    }
    t.equal(forms.size, 1, [...forms].join('\n'))
    t.notMatch([...forms][0], /hunter2/)
  }
})

t.test('answers 401 only for rejected credentials of the user', async (t) => {
  const rejected = errorWithReason(Code.Unauthenticated, 'Wrong.', {
    domain: 'user.v1',
    reason: 'CREDENTIALS_REJECTED'
  })
  const { app } = await failing(t, rejected)
  t.same(await statuses(t, app, headers), unlessValidated(401))
  const other = errorWithReason(Code.Unauthenticated, 'hunter2', { domain: 'session.v1', reason: 'SOMETHING_ELSE' })
  t.same(await statuses(t, (await failing(t, other)).app, headers), everyRoute503, 'another reason')
})

t.test('answers each reason of user-svc by a problem of its own', async (t) => {
  const reasons: [reason: string, code: Code, status: number, type: string][] = [
    ['WRONG_PASSWORD', Code.PermissionDenied, 403, 'wrong-password'],
    ['TOKEN_REJECTED', Code.PermissionDenied, 403, 'invalid-token'],
    ['ACCOUNT_DISABLED', Code.PermissionDenied, 403, 'account-disabled'],
    ['EMAIL_NOT_VERIFIED', Code.PermissionDenied, 403, 'email-not-verified'],
    ['MAIL_NOT_CONFIGURED', Code.FailedPrecondition, 501, 'mail-not-configured'],
    ['ACCOUNT_NOT_FOUND', Code.NotFound, 401, 'unauthenticated'],
    ['ADDRESS_TAKEN', Code.AlreadyExists, 409, 'already-exists'],
    ['CREDENTIALS_REJECTED', Code.Unauthenticated, 401, 'unauthenticated'],
    // A reason of a later version.
    ['SOMETHING_NEW', Code.PermissionDenied, 403, 'permission-denied']
  ]
  for (const [reason, code, status, type] of reasons) {
    const fail = () => {
      throw errorWithReason(code, 'A sentence.', { domain: 'user.v1', reason })
    }
    const { parts } = await serveUpstreams(t, { ...workingServices(user), ...allUserMethods(fail) })
    const { app, lines, registry } = await buildGateway(t, { parts })
    const failing = routes.filter(
      ({ name }) => !['GET /session', 'GET /sessions', 'DELETE /sessions/{id}'].includes(name)
    )
    for (const route of failing) {
      const answer = await app.inject(requestOf(route, headers))
      const problem = requireForm(t, answer, status, `${route.name} ${reason}`)
      t.equal(problem.type, `urn:problem-type:${type}`)
      if (reason !== 'ACCOUNT_NOT_FOUND') t.equal(problem.detail, 'A sentence.')
      t.equal(answer.headers['www-authenticate'] !== undefined, status === 401)
    }
    t.notMatch(lines.join(''), /"level":"error"/, `${reason} is no failure of the server`)
    const label = status === 401 ? 'unauthenticated' : type.replaceAll('-', '_')
    const count = `request_errors_total{error_class="client",code="${label}"} ${failing.length}`
    t.ok((await registry.metrics()).includes(count), count)
  }
})

t.test('a reason of another service is none of user-svc', async (t) => {
  const fail = () => {
    throw errorWithReason(Code.FailedPrecondition, 'A sentence.', {
      domain: 'session.v1',
      reason: 'MAIL_NOT_CONFIGURED'
    })
  }
  const { parts } = await serveUpstreams(t, { ...workingServices(user), ...allUserMethods(fail) })
  const { app } = await buildGateway(t, { parts })
  requireForm(t, await app.inject({ url: '/account', headers }), 400)
})

t.test('answers 503 when a service rejects the credential of the gateway', async (t) => {
  const { parts } = await serveUpstreams(t, workingServices(), 'another-token')
  const { app } = await buildGateway(t, { parts })
  t.same(await statuses(t, app, headers), everyRoute503)
})

t.test('answers 504 for a write whose connection was cut, and 503 for a validation', async (t) => {
  const { parts, server } = await serveUpstreams(
    t,
    allMethods(() => new Promise<never>(() => {}))
  )
  const sockets = new Set<Socket>()
  server.server.on('connection', (socket: Socket) => sockets.add(socket))
  const { app } = await buildGateway(t, { parts })
  for (const route of routes) {
    const pending = app.inject(requestOf(route, headers))
    // The client retries some calls on a new connection.
    const cutting = setInterval(() => {
      for (const socket of sockets) socket.destroy()
    }, 100)
    requireForm(t, await pending, unlessValidated(504)[route.name] as number, route.name)
    clearInterval(cutting)
  }
})
