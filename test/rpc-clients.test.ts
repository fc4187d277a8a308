/** The RPC ports as their users call them: grpcurl and `buf curl`, with nothing but reflection and the token. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
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

const hasGrpcurl = await run('grpcurl', ['-version']).then(
  () => true,
  () => false
)
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

  t.test('calls both services with the token', async (t) => {
    const json = JSON.stringify({ email: newAddress(), password })
    const registered = await grpcurl(ports.users, ...authorized, '-d', json, 'user.v1.UserService/RegisterAndLogin')
    t.ok(registered.ok, registered.stderr)
    const { token, user } = JSON.parse(registered.stdout)
    const method = 'session.v1.SessionService/ValidateSession'
    const validated = await grpcurl(ports.sessions, ...authorized, '-d', JSON.stringify({ token }), method)
    t.equal(JSON.parse(validated.stdout).session.userId, user.id)
  })

  t.test('is refused without the token, and told which field is wrong with it', async (t) => {
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
