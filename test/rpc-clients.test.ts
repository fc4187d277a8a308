/** The RPC ports as their users call them: grpcurl and `buf curl`, with nothing but reflection and the token. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { createProduct, newAddress, password } from './support/product.ts'

const product = await createProduct(t)
await product.startAll()
const { ports, rpcToken } = product

interface Run {
  ok: boolean
  stdout: string
  stderr: string
}

async function run(command: string, args: string[]): Promise<Run> {
  try {
    return { ok: true, ...(await promisify(execFile)(command, args)) }
  } catch (error) {
    const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: unknown }
    if (code === 'ENOENT') throw error
    return { ok: false, stdout, stderr }
  }
}

const isInstalled = (command: string, option: string) =>
  run(command, [option]).then(
    () => true,
    () => false
  )
const hasGrpcurl = await isInstalled('grpcurl', '-version')
const hasCurl = await isInstalled('curl', '--version')
const thirtyDays = 30 * 24 * 3600
const authorized = ['-H', `authorization: Bearer ${rpcToken}`]

t.test('grpcurl', { skip: hasGrpcurl ? false : 'grpcurl is not on the path' }, async (t) => {
  const grpcurl = (port: number, ...args: string[]) =>
    run('grpcurl', ['-plaintext', ...args.slice(0, -1), `127.0.0.1:${port}`, ...args.slice(-1)])

  t.test('lists and describes without a token', async (t) => {
    const sessions = await grpcurl(ports.sessions, 'list')
    t.match(sessions.stdout, /session\.v1\.SessionService/)
    t.match((await grpcurl(ports.users, 'list')).stdout, /user\.v1\.UserService/)
    const described = await run('grpcurl', [
      '-plaintext',
      `127.0.0.1:${ports.users}`,
      'describe',
      'user.v1.UserService'
    ])
    t.match(described.stdout, /rpc RegisterAndLogin/)
    t.match((await grpcurl(ports.sessions, 'grpc.health.v1.Health/Check')).stdout, /SERVING/)
  })

  await fieldCase(
    t,
    21,
    '`grpcurl describe` resolves fields, methods, enum values, oneofs and nested names',
    async (t) => {
      for (const [port, symbol, description] of [
        [ports.sessions, 'session.v1.Session.user_id', /is a field:[\s\S]*string user_id/],
        [ports.sessions, '.session.v1.Session.user_id', /is a field:/],
        [ports.sessions, 'session.v1.SessionService.ValidateSession', /is a method:[\s\S]*rpc ValidateSession/],
        [ports.sessions, 'session.v1.InvalidReason', /is an enum:/],
        [ports.sessions, 'session.v1.INVALID_REASON_NOT_FOUND', /is an enum value:/],
        [ports.sessions, 'session.v1.ValidateSessionResponse.result', /is a one-of:/],
        [ports.sessions, 'session.v1.Session', /is a message:/],
        [ports.sessions, 'google.protobuf.Timestamp.seconds', /is a field:/],
        [ports.users, 'user.v1.UserService.Logout', /is a method:/],
        [ports.users, 'session.v1.Session.user_id', /is a field:/],
        [ports.users, 'grpc.health.v1.Health.Check', /is a method:/]
      ] as const) {
        const described = await run('grpcurl', ['-plaintext', `127.0.0.1:${port}`, 'describe', symbol])
        t.match(described.stdout, description, `${symbol} ${described.stderr}`)
      }
      for (const symbol of ['session.v1.Session.nothing', 'session.v1.Nothing', 'session', 'Session.user_id']) {
        const described = await run('grpcurl', ['-plaintext', `127.0.0.1:${ports.sessions}`, 'describe', symbol])
        t.match(described.stderr, /not found/i, symbol)
      }
    }
  )

  await fieldCase(
    t,
    9,
    'grpcurl with `-max-time` of 30 days and more gets a response to every kind of call',
    async (t) => {
      const userId = '0197a000-0000-7000-8000-000000000000'
      const list = ['-d', JSON.stringify({ userId }), 'session.v1.SessionService/ListSessions']
      for (const seconds of [thirtyDays, 2_147_484, 99 * 365 * 24 * 3600]) {
        for (const call of [list, ['grpc.health.v1.Health/Check']]) {
          const answered = await grpcurl(ports.sessions, ...authorized, '-max-time', String(seconds), ...call)
          t.ok(answered.ok, `${seconds} s, ${call.at(-1)}: ${answered.stderr}`)
        }
      }
      // A deadline below the cap stays in force.
      const short = await grpcurl(ports.sessions, '-max-time', '0.3', 'grpc.health.v1.Health/Watch')
      t.match(short.stderr, /DeadlineExceeded/)
    }
  )

  t.test('calls both services with the token', async (t) => {
    const json = JSON.stringify({ email: newAddress(), password })
    const registered = await grpcurl(ports.users, ...authorized, '-d', json, 'user.v1.UserService/RegisterAndLogin')
    t.ok(registered.ok, registered.stderr)
    const { token, user } = JSON.parse(registered.stdout)
    const method = 'session.v1.SessionService/ValidateSession'
    const validated = await grpcurl(ports.sessions, ...authorized, '-d', JSON.stringify({ token }), method)
    t.equal(JSON.parse(validated.stdout).session.userId, user.id)
  })

  t.test('is rejected without the token, and gets the name of a wrong field with it', async (t) => {
    const method = 'session.v1.SessionService/ListSessions'
    for (const headers of [[], ['-H', 'authorization: Bearer wrong'], ['-H', `authorization: ${rpcToken}`]]) {
      t.match((await grpcurl(ports.sessions, ...headers, method)).stderr, /Code: Unauthenticated/)
    }
    const refused = await grpcurl(ports.sessions, ...authorized, '-d', '{"user_id":"x"}', method)
    t.match(refused.stderr, /Code: InvalidArgument/)
    t.match(refused.stderr, /"field": "user_id"/, 'the details can be read')
  })

  t.test('an oversized message and an unknown method have their codes, and leave nothing in the log', async (t) => {
    const canary = `canary-${newAddress()}`
    const json = JSON.stringify({ token: canary + 'x'.repeat(70_000) })
    const oversized = await grpcurl(
      ports.sessions,
      ...authorized,
      '-d',
      json,
      'session.v1.SessionService/ValidateSession'
    )
    t.match(oversized.stderr, /Code: ResourceExhausted/)
    t.notMatch(product.output(), canary)
  })
})

t.test('buf curl calls over gRPC, gRPC-Web and Connect', async (t) => {
  for (const protocol of ['grpc', 'grpcweb', 'connect']) {
    const url = `http://127.0.0.1:${ports.users}/user.v1.UserService/RegisterAndLogin`
    const json = JSON.stringify({ email: newAddress(), password })
    const options = ['curl', '--http2-prior-knowledge', '--protocol', protocol]
    const called = await run('node_modules/.bin/buf', [...options, ...authorized, '-d', json, url])
    t.ok(called.ok, called.stderr)
    t.match(JSON.parse(called.stdout), { token: /^ses_/ })
    t.match((await run('node_modules/.bin/buf', [...options, '-d', json, url])).stderr, /unauthenticated/)
  }
})

t.test('curl', { skip: hasCurl ? false : 'curl is not on the path' }, async (t) => {
  await t.test('calls a method with JSON over HTTP/1.1', async (t) => {
    const options = ['-sS', '-H', 'content-type: application/json', ...authorized]
    const url = `http://127.0.0.1:${ports.sessions}/session.v1.SessionService/ValidateSession`
    const called = await run('curl', [...options, '-d', '{"token":"ses_"}', url])
    t.same(JSON.parse(called.stdout), { invalid: { reason: 'INVALID_REASON_MALFORMED' } })
  })

  await fieldCase(t, 9, 'curl with `connect-timeout-ms` of 30 days gets a response', async (t) => {
    const url = `http://127.0.0.1:${ports.users}/user.v1.UserService/RegisterAndLogin`
    for (const timeout of [thirtyDays * 1000, 2 ** 31, 9_999_999_999]) {
      const json = JSON.stringify({ email: newAddress(), password })
      const headers = ['content-type: application/json', `connect-timeout-ms: ${timeout}`, authorized[1] as string]
      const options = ['-sS', '--http2-prior-knowledge', ...headers.flatMap((header) => ['-H', header])]
      const called = await run('curl', [...options, '-d', json, url])
      t.match(JSON.parse(called.stdout), { token: /^ses_/ }, `${timeout} ms`)
    }
  })
})
