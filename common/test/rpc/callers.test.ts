/** Named callers: each credential of `rpc.callers` permits its methods and no other, and each log line names the caller. */

import { randomBytes } from 'node:crypto'
import { create, type DescMethod, type DescService, toBinary } from '@bufbuild/protobuf'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { callOf } from '#common/rpc/call-context.ts'
import { methodName, methodsOfRole, parseCaller, parseCallers, type Role } from '#common/rpc/callers.ts'
import { buildRpcServer } from '#common/rpc/server/server.ts'
import { alwaysReady, silentLog, testRpc } from '#common/testing/service.ts'
import { AdminService, file_admin_v1_admin } from '#gen/admin/v1/admin_pb.ts'
import { file_session_v1_session, SessionService } from '#gen/session/v1/session_pb.ts'
import { file_user_v1_user, UserService } from '#gen/user/v1/user_pb.ts'

const services = [UserService, SessionService, AdminService]
const token = () => randomBytes(24).toString('hex')

t.test('an entry permits the methods that it names', (t) => {
  const all = services.flatMap((service) => service.methods)
  const permitted = (entry: string) => all.filter(parseCaller(entry).permits).map(methodName)
  const validation = ['session.v1.SessionService/ValidateSession', 'session.v1.SessionService/ValidateSessions']
  t.same(permitted('shop:t:validation'), validation)
  t.same(permitted('validation:t'), validation, 'the name is the role')
  t.same(permitted('shop:t:session.v1.SessionService/ListSessions+user.v1.UserService/Logout').sort(), [
    'session.v1.SessionService/ListSessions',
    'user.v1.UserService/Logout'
  ])
  t.equal(permitted('shop:t:session.v1.SessionService/*').length, SessionService.methods.length)
  t.equal(permitted('gateway:t').includes('session.v1.SessionService/CreateSession'), false)
  t.match(parseCaller('gateway:cert-uri=spiffe%3A//cluster/gateway'), {
    token: '',
    certificate: 'uri=spiffe://cluster/gateway'
  })
  t.same(
    parseCallers(['', 'shop:t:validation', '']).map(({ name }) => name),
    ['shop']
  )
  t.end()
})

t.test('a mistake in an entry is named, without any text of the entry', (t) => {
  for (const [entry, problem] of [
    ['hunter2', /permits something|no token/],
    [':hunter2:validation', /no name/],
    ['Hunter2:x:validation', /no name/],
    ['services:hunter2:validation', /no name/],
    ['shop::validation', /no token/],
    ['shop:hunter2', /permits something/],
    ['shop:hunter2:', /permits something/],
    ['shop:t:hunter2', /permits something/],
    ['shop:t:validation+', /permits something/],
    ['shop:t:session.v1.SessionService/Hunter2', /permits something/],
    ['shop:t:validation:hunter2', /more than/],
    ['shop:t:toString', /permits something/],
    ['shop:cert-ip=hunter2:validation', /none of cert-dns=/],
    ['shop:cert-dns=:validation', /none of cert-dns=/],
    ['shop:cert-uri=%hunter2:validation', /percent-encoding/]
  ] as const) {
    t.throws(() => parseCaller(entry), { message: problem }, entry)
    t.throws(() => parseCaller(entry), { message: /^(?!.*hunter2)/i })
  }
  t.end()
})

/** A server whose methods all succeed, and a caller of each with a credential. */
async function serve(t: Pick<Test, 'teardown'>, callers: string[]) {
  const lines: Record<string, unknown>[] = []
  const app = buildRpcServer({
    log: createLogger('test', 'info', { write: (line: string) => void lines.push(JSON.parse(line)) }),
    registry: new Registry(),
    readiness: alwaysReady,
    rpc: { ...testRpc, callers },
    services,
    files: [file_user_v1_user, file_session_v1_session, file_admin_v1_admin],
    routes(router) {
      for (const service of services) router.service(service, handlers(service))
    }
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const { port } = app.server.address() as { port: number }
  /** @returns the HTTP status of a Connect call over HTTP/1.1 */
  async function call(method: DescMethod, credential: string): Promise<number> {
    const isStream = method.methodKind !== 'unary'
    const message = toBinary(method.input, create(method.input))
    const body = isStream ? Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]) : message
    const response = await fetch(`http://127.0.0.1:${port}/${methodName(method)}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${credential}`,
        'content-type': isStream ? 'application/connect+proto' : 'application/proto'
      },
      body
    })
    const text = await response.text()
    // The status of a stream is in its last message.
    return isStream && text.includes('"permission_denied"') ? 403 : response.status
  }
  return { lines, call }
}

function handlers(service: DescService) {
  return Object.fromEntries(
    service.methods.map((method) => [
      method.localName,
      (_request: unknown, context: Parameters<typeof callOf>[0]) => {
        const call = callOf(context, silentLog)
        call.log.info({ event: 'handled', reason: call.caller }, 'handled a call')
        return {}
      }
    ])
  )
}

t.test('each role calls its own methods only, and all lines of a call name the caller', async (t) => {
  const roles: Role[] = ['gateway', 'user-svc', 'operators', 'validation']
  const tokens = new Map(roles.map((role) => [role, token()]))
  const { lines, call } = await serve(
    t,
    [...tokens].map(([role, token]) => `${role}:${token}`)
  )
  for (const [role, token] of tokens) {
    for (const service of services) {
      const permitted = methodsOfRole(role, service)
      for (const method of service.methods) {
        const status = await call(method, token)
        t.equal(status, permitted.includes(method) ? 200 : 403, `${role} calls ${methodName(method)}`)
        const written = lines.splice(0)
        for (const line of written) t.equal(line.caller, role)
        if (status === 200)
          t.same(
            written.map(({ event }) => event).sort(),
            ['handled', service === AdminService ? 'admin_call' : 'rpc_served'].sort()
          )
      }
    }
  }
})

t.test('a name has several tokens; another one is rejected', async (t) => {
  const [first, second] = [token(), token()]
  const { call } = await serve(t, [`shop:${first}:validation`, `shop:${second}:validation`])
  const { validateSession } = SessionService.method
  t.equal(await call(validateSession, first), 200)
  t.equal(await call(validateSession, second), 200)
  t.equal(await call(validateSession, `${first}x`), 401)
  t.equal(await call(validateSession, ''), 401)
  t.equal(await call(SessionService.method.createSession, testRpc.token), 200, 'rpc.token stays valid')
})
