/** Every secret is replaced under traffic, in the order of docs/operate/rotate.md: no request is lost, and no session ends. */

import { join } from 'node:path'
import { createClient } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import t from 'tap'
import { newestEmails } from '#common/mail/mail-files.ts'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { probeHealth } from '#common/rpc/client/health-probe.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { until } from '#common/testing/until.ts'
import { AdminService } from '#gen/admin/v1/admin_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { createProduct, longBudgets, newAddress, password, type ServiceName } from './support/product.ts'
import { createRotation, type RotationStep } from './support/rotated-secrets.ts'
import { startTraffic, summary } from './support/traffic.ts'

t.setTimeout(600_000)

const rotation = await createRotation(t)
const { steps, database, redis, kafka } = rotation
const mailDirectory = join(process.cwd(), '.data', 'test', `mail-${process.pid}`)
const shared = {
  ...longBudgets,
  SHUTDOWN_DRAIN_DELAY: '1s',
  LOG_STDOUT: 'info',
  // The services get their own from the steps.
  RPC_CALLERS: '',
  USER_SVC_POSTGRES_URL: database.urls[0],
  MAIL_URL: `file:${mailDirectory}`,
  MAIL_FROM: 'auth@example.org',
  MAIL_LINKS_VERIFY: 'https://app.example.org/confirm#token={token}',
  MAIL_LINKS_RESET: 'https://app.example.org/reset#token={token}'
}
const [first, second] = [await createProduct(t, shared), await createProduct(t, shared)]
const instances = [first, second] as const
const urlsOf = (port: 'users' | 'sessions') => instances.map(({ ports }) => `http://127.0.0.1:${ports[port]}`)

function apply(step: RotationStep): void {
  for (const [name, changed] of Object.entries(step) as [ServiceName, Record<string, string>][]) {
    for (const { settings } of instances) settings.set(name, { ...settings.get(name), ...changed })
  }
}

for (const { env } of instances) {
  Object.assign(env, { RPC_USER_SVC_URL: urlsOf('users').join(), RPC_SESSION_SVC_URL: urlsOf('sessions').join() })
}

/** The load balancer: requests go to a gateway that is not restarted at the moment. */
let serving: (typeof instances)[number] = first
const call: typeof first.call = (...request) => serving.call(...request)

/** Restarts the services that a step changes, one instance after the other. */
async function restart(step: RotationStep): Promise<void> {
  apply(step)
  const names = Object.keys(step) as ServiceName[]
  for (const product of instances) {
    serving = product === first ? second : first
    await Promise.all(
      names.map(async (name) => {
        t.equal(await product.stop(name), 0, `${name} ends by itself`)
        product.start(name)
        await product.untilReady(name)
      })
    )
  }
}

/** Calls in a loop with the present credential, until `end`. */
function keepCalling(credential: string, create: (credential: string) => () => Promise<unknown>) {
  let send = create(credential)
  let isOver = false
  let count = 0
  const failures: unknown[] = []
  async function run(): Promise<void> {
    while (!isOver) {
      await send().catch((error) => failures.push(error))
      count += 1
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const running = run()
  t.teardown(() => {
    isOver = true
  })
  return {
    change(next: string): void {
      send = create(next)
    },
    async end(): Promise<void> {
      isOver = true
      await running
      t.same(failures, [], `each of ${count} calls succeeded`)
    }
  }
}

function transportTo(name: string, urls: string[], token: string) {
  const rpc = { token, ownToken: '', maxMessageBytes: 65_536, maxTimeout: 10_000 }
  return createRpcTransport({ name, urls, rpc }, rpcClientMetrics(new Registry()))
}

/** A call after a health check, so that it goes to an instance that serves: an instance that starts is not ready yet. */
function withHealth(transport: ReturnType<typeof transportTo>, send: () => Promise<unknown>): () => Promise<unknown> {
  const probe = probeHealth(transport)
  return async () => {
    await probe()
    await send()
  }
}

/** The token in the email of a reset, before later emails. */
async function resetTokenOf(email: string): Promise<string> {
  let token = ''
  await until('the email is written', async () => {
    const links = (await newestEmails(mailDirectory, 20)).filter(({ to }) => to === email).flatMap(({ links }) => links)
    token = /\/reset#token=(.+)/.exec(links.find((link) => link.includes('/reset#')) ?? '')?.[1] ?? ''
    return token !== ''
  })
  return decodeURIComponent(token)
}

t.test('the rotation of every secret loses no request and ends no session', async (t) => {
  apply(steps.start)
  for (const name of ['session-svc', 'user-svc', 'gateway'] as const) {
    for (const product of instances) product.start(name)
    for (const product of instances) await product.untilReady(name)
  }
  const [kept, forgetful] = [await first.register(), await first.register()]
  t.equal((await call('POST', '/password/reset', { json: { email: forgetful.email } })).status, 202)
  const oldToken = await resetTokenOf(forgetful.email)

  const validating = (credential: string) => {
    const transport = transportTo('session-svc', urlsOf('sessions'), credential)
    const client = createClient(SessionService, transport)
    return withHealth(transport, async () => {
      t.equal((await client.validateSession({ token: kept.token })).result.case, 'session')
    })
  }
  const administering = (credential: string) => {
    const transport = transportTo('user-svc', urlsOf('users'), credential)
    const client = createClient(AdminService, transport)
    return withHealth(transport, () => client.getUser({ key: { case: 'email', value: kept.email } }))
  }
  const traffic = await startTraffic(t, call, 8)
  const application = keepCalling(rotation.application[0], validating)
  const otherCaller = keepCalling(rotation.shared[0], validating)
  const operator = keepCalling(rotation.operators[0], administering)

  await Promise.all([redis.add(), database.add(), kafka.add()])
  await restart(steps.accept)
  application.change(rotation.application[1])
  otherCaller.change(rotation.shared[1])
  operator.change(rotation.operators[1])
  await restart(steps.present)
  const json = { token: oldToken, newPassword: `${password} again` }
  t.equal((await call('PUT', '/password/reset', { json })).status, 204, 'a token under the old mail key is valid')
  await restart(steps.remove)
  await Promise.all([redis.remove(), database.remove(), kafka.remove()])
  // With the old values gone everywhere.
  const login = { json: { email: kept.email, password } }
  t.equal((await call('POST', '/auth', login)).status, 200, 'a password under the old pepper is valid')
  await traffic.untilServed('POST /reg', 'POST /auth', 'GET /session')

  const outcomes = await traffic.end()
  t.comment(summary(outcomes))
  const failed = outcomes.filter(({ status }) => status < 200 || status > 299)
  t.same(failed, [], `each of ${outcomes.length} requests succeeded`)
  await Promise.all([application.end(), otherCaller.end(), operator.end()])
  t.equal((await call('GET', '/session', { token: kept.token })).status, 200, 'the session of before is valid')
  for (const { output, ops } of instances) {
    t.notMatch(output(), /rejects the credential|denies this service|authz_fail|reject the user or the password/)
    for (const name of ['session-svc', 'user-svc', 'gateway'] as const)
      t.match(await (await ops(name, '/readyz?verbose')).text(), /^\[\+\] kafka/m, 'the log reaches Kafka')
  }

  const old = createClient(SessionService, transportTo('session-svc', urlsOf('sessions'), rotation.application[0]))
  await t.rejects(old.validateSession({ token: newAddress() }), { message: /rejects the credential/ })
})
