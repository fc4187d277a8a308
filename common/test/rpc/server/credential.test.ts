/** Credentials of an RPC server: each permits its packages only, and calls of administration are logged with their caller. */

import crypto, { randomBytes } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { lineKey } from '#common/rpc/call-context.ts'
import { credentialCheck, rejectedHeader } from '#common/rpc/server/credential.ts'
import { buildRpcServer } from '#common/rpc/server/server.ts'
import { alwaysReady, testRpc, testTransport } from '#common/testing/service.ts'
import { AdminService, file_admin_v1_admin } from '#gen/admin/v1/admin_pb.ts'
import { Health } from '#gen/grpc/health/v1/health_pb.ts'
import { file_user_v1_user, UserService } from '#gen/user/v1/user_pb.ts'

const previousAdminToken = randomBytes(24).toString('base64url')
const userId = '0197a000-0000-7000-8000-000000000000'

/** A server of both packages; it counts the calls that reach a handler. */
async function serve(t: Pick<Test, 'teardown'>, rpc: Partial<typeof testRpc> = {}) {
  const lines: Record<string, unknown>[] = []
  const served = { user: 0, admin: 0 }
  const app = buildRpcServer({
    log: createLogger('test', 'info', { write: (line: string) => void lines.push(JSON.parse(line)) }),
    registry: new Registry(),
    readiness: alwaysReady,
    rpc: { ...testRpc, ...rpc },
    services: [UserService, AdminService],
    files: [file_user_v1_user, file_admin_v1_admin],
    routes: (router) =>
      router
        .service(UserService, {
          logout() {
            served.user += 1
            return {}
          }
        })
        .service(AdminService, {
          deleteUser({ userId }, context) {
            context.values.set(lineKey, { userId })
            served.admin += 1
            if (userId === '') throw new ConnectError('none', Code.NotFound)
            return {}
          },
          async importUsers(requests, context) {
            let count = 0
            for await (const { users } of requests) count += users.length
            context.values.set(lineKey, { count })
            served.admin += 1
            return { imported: count }
          }
        })
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const { port } = app.server.address() as { port: number }
  /** The same call over gRPC, over Connect in binary, which has a server of its own, and over Connect in JSON. */
  const transports = (token: string) => [
    testTransport(port, token),
    ...[true, false].map((useBinaryFormat) =>
      createConnectTransport({
        httpVersion: '2',
        baseUrl: `http://127.0.0.1:${port}`,
        useBinaryFormat,
        interceptors: [
          (next) => (request) => {
            request.header.set('authorization', `Bearer ${token}`)
            return next(request)
          }
        ]
      })
    )
  ]
  return { port, lines, served, transports }
}

const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => 'ok',
    (error) => ConnectError.from(error)
  )

t.test('a credential is compared with every accepted one, as digests in constant time', async (t) => {
  const { timingSafeEqual } = crypto
  const compared: number[][] = []
  crypto.timingSafeEqual = (a, b) => {
    compared.push([a.byteLength, b.byteLength])
    return timingSafeEqual(a, b)
  }
  syncBuiltinESMExports()
  t.teardown(() => {
    Object.assign(crypto, { timingSafeEqual })
    syncBuiltinESMExports()
  })
  const own = randomBytes(24).toString('hex')
  const other = randomBytes(24).toString('hex')
  const values = {
    token: own,
    previousToken: other,
    adminToken: '',
    previousAdminToken: '',
    callers: [`gateway:${own}x`]
  }
  const find = credentialCheck(values)
  const presented = [
    `Bearer ${own}`,
    `Bearer ${other}`,
    `Bearer ${own.slice(1)}`,
    'Bearer ',
    'x'.repeat(5000),
    undefined
  ]
  for (const authorization of presented) {
    compared.length = 0
    t.equal(find(authorization)?.name, presented.indexOf(authorization) < 2 ? 'services' : undefined)
    t.same(compared, Array(3).fill([32, 32]), 'no comparison is left out, and no length matters')
  }
})

t.test('a credential permits the packages of its row and no other', async (t) => {
  const { served, transports } = await serve(t, { previousAdminToken })
  for (const [token, user, admin] of [
    [testRpc.token, 'ok', 'rejected'],
    [testRpc.adminToken, 'rejected', 'ok'],
    [previousAdminToken, 'rejected', 'ok'],
    [`${testRpc.adminToken}x`, 'rejected', 'rejected'],
    ['', 'rejected', 'rejected']
  ] as const) {
    for (const transport of transports(token)) {
      const before = { ...served }
      const results = {
        user: await codeOf(createClient(UserService, transport).logout({})),
        admin: await codeOf(createClient(AdminService, transport).deleteUser({ userId })),
        stream: await codeOf(createClient(AdminService, transport).importUsers(one()))
      }
      const isKnown = user === 'ok' || admin === 'ok'
      const denied = { code: Code.PermissionDenied, rawMessage: /^The caller (services|operators) may not call / }
      if (user === 'ok') t.equal(results.user, 'ok')
      else t.match(results.user, isKnown ? denied : { code: Code.Unauthenticated, rawMessage: /<rpc\.token>/ })
      for (const result of [results.admin, results.stream]) {
        if (admin === 'ok') t.equal(result, 'ok')
        else t.match(result, isKnown ? denied : { code: Code.Unauthenticated, rawMessage: /<rpc\.adminToken>/ })
      }
      t.equal(served.user - before.user, user === 'ok' ? 1 : 0)
      t.equal(served.admin - before.admin, admin === 'ok' ? 2 : 0)
    }
  }
})

async function* one() {
  yield { users: [{ email: 'ada@example.org' }] }
}

t.test('without a credential of operators, every call of administration is rejected', async (t) => {
  const { served, transports } = await serve(t, { adminToken: '' })
  for (const token of ['', testRpc.adminToken, testRpc.token, 'undefined']) {
    for (const transport of transports(token)) {
      const result = await codeOf(createClient(AdminService, transport).deleteUser({ userId }))
      t.match(result, { code: token === testRpc.token ? Code.PermissionDenied : Code.Unauthenticated })
    }
  }
  t.equal(served.admin, 0)
})

t.test('each call is one line with its caller, also a failed one; a rejected call is an audit event', async (t) => {
  const { lines, transports } = await serve(t)
  const method = 'admin.v1.AdminService/DeleteUser'
  const [grpc, binary] = transports(testRpc.adminToken)
  for (const transport of [grpc, binary]) {
    if (transport === undefined) throw new Error('a transport is missing')
    const client = createClient(AdminService, transport)
    await client.deleteUser({ userId })
    await codeOf(client.deleteUser({}))
    await client.importUsers(one())
    const [wrong, none] = [testRpc.token, ''].map((token) => transports(token)[transport === grpc ? 0 : 1])
    if (wrong === undefined || none === undefined) throw new Error('a transport is missing')
    await codeOf(createClient(AdminService, wrong).deleteUser({ userId }))
    await codeOf(createClient(AdminService, none).deleteUser({ userId }))
    await createClient(UserService, wrong).logout({})
    const [ok, failed, imported, ofServices, unknown, other, ...more] = lines.splice(0)
    t.match(ok, { event: 'admin_call', rpc: method, caller: 'operators', userId, code: 'ok', level: 'info' })
    t.match(failed, { event: 'admin_call', rpc: method, caller: 'operators', code: 'not_found' })
    t.match(imported, { event: 'admin_call', rpc: 'admin.v1.AdminService/ImportUsers', code: 'ok', count: 1 })
    const rejected = { event: 'authz_fail', level: 'warn', rpc: method, count: 1 }
    const notPermitted = { code: 'permission_denied', reason: 'method_not_permitted' }
    t.match(ofServices, { ...rejected, caller: 'services', ...notPermitted })
    t.match(unknown, { ...rejected, code: 'unauthenticated', reason: 'unknown_credential' })
    t.notOk(unknown && 'caller' in unknown)
    t.match(other, { event: 'rpc_served', rpc: 'user.v1.UserService/Logout', caller: 'services' })
    t.same(more, [])
  }
})

t.test('a health check reports a credential that permits none of the services', async (t) => {
  const { transports } = await serve(t)
  for (const [token, isRejected] of [
    [testRpc.token, false],
    [testRpc.adminToken, false],
    ['wrong', true]
  ] as const) {
    const headers: (string | null)[] = []
    const [transport] = transports(token)
    if (transport === undefined) throw new Error('a transport is missing')
    await createClient(Health, transport).check({}, { onHeader: (each) => void headers.push(each.get(rejectedHeader)) })
    t.same(headers, [isRejected ? 'true' : null])
  }
})
