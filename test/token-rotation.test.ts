/** `rpc.token` is replaced while two instances of each service serve traffic: in the documented order, and in the wrong one. */

import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { until } from '#common/testing/until.ts'
import { createProduct, longBudgets, newAddress, password, type ServiceName } from './support/product.ts'
import { type Outcome, startTraffic, summary } from './support/traffic.ts'

t.setTimeout(600_000)

// The whole log, for the lines of a request that fails.
const patient = { ...longBudgets, RPC_CALLERS: '', SHUTDOWN_DRAIN_DELAY: '1s', LOG_STDOUT: 'info' }
// Few: requests are under test, not load.
const requestsPerSecond = 8

type Product = Awaited<ReturnType<typeof createProduct>>
const [first, second] = await createPair()
const instances: readonly Product[] = [first, second]
const oldToken = first.rpcToken
const newToken = randomBytes(32).toString('base64url')

async function createPair(): Promise<[Product, Product]> {
  const one = await createProduct(t, patient)
  const { USER_SVC_POSTGRES_URL, RPC_TOKEN } = one.env as { USER_SVC_POSTGRES_URL: string; RPC_TOKEN: string }
  const other = await createProduct(t, { ...patient, USER_SVC_POSTGRES_URL, RPC_TOKEN })
  for (const { env } of [one, other]) {
    env.RPC_USER_SVC_URL = `http://127.0.0.1:${one.ports.users},http://127.0.0.1:${other.ports.users}`
    env.RPC_SESSION_SVC_URL = `http://127.0.0.1:${one.ports.sessions},http://127.0.0.1:${other.ports.sessions}`
  }
  return [one, other]
}

await Promise.all(instances.map((product) => product.startAll()))

/** The load balancer: requests go to a gateway that is not restarted at the moment. */
let serving: Product = first
const call: Product['call'] = (...request) => serving.call(...request)
const otherThan = (product: Product) => (product === first ? second : first)

async function restart(product: Product, name: ServiceName, tokens: Record<string, string>): Promise<void> {
  if (name === 'gateway') serving = otherThan(product)
  t.equal(await product.stop(name), 0, `${name} ends by itself`)
  product.env.RPC_TOKEN = tokens.RPC_TOKEN as string
  if (tokens.RPC_PREVIOUS_TOKEN === undefined) delete product.env.RPC_PREVIOUS_TOKEN
  else product.env.RPC_PREVIOUS_TOKEN = tokens.RPC_PREVIOUS_TOKEN
  product.start(name)
}

async function restartUntilReady(product: Product, name: ServiceName, tokens: Record<string, string>): Promise<void> {
  await restart(product, name, tokens)
  await until(`${name} is ready again`, () => product.isReady(name), 60_000)
}

/** How often an instance logged that an upstream rejects its credential, in its readiness or for a request. */
const rejections = (product: Product) => product.output().split('rejects the credential').length - 1

function requireServed(t: Test, outcomes: Outcome[]): void {
  t.comment(summary(outcomes))
  const failed = outcomes.filter(({ status }) => status < 200 || status > 299)
  const isOfFailure = (line: string) =>
    /"code":"(unavailable|unauthenticated|deadline_exceeded)"|"statusCode":5/.test(line)
  const lines = failed.length === 0 ? [] : instances.flatMap((each) => each.output().split('\n').filter(isOfFailure))
  t.same([...failed, ...lines], [], `each of ${outcomes.length} requests succeeded`)
}

const documented = 'the documented order of a rotation loses no request, with two instances of each service'
await fieldCase(t, 25, documented, async (t) => {
  const traffic = await startTraffic(t, call, requestsPerSecond)
  const both = { RPC_TOKEN: newToken, RPC_PREVIOUS_TOKEN: oldToken }
  for (const name of ['session-svc', 'user-svc', 'gateway'] as const) {
    for (const product of instances) await restartUntilReady(product, name, both)
  }
  // Without the old one, the order does not matter.
  for (const name of ['gateway', 'session-svc'] as const) {
    await restartUntilReady(second, name, { RPC_TOKEN: newToken })
  }
  requireServed(t, await traffic.end())
  for (const product of instances) t.equal(rejections(product), 0, 'no credential was rejected')
})

const wrong =
  'a caller that is restarted first is not ready, names the upstream, and answers 503; the other instance serves'
await fieldCase(t, 25, wrong, async (t) => {
  const tooEarly = { RPC_TOKEN: randomBytes(32).toString('base64url'), RPC_PREVIOUS_TOKEN: newToken }
  const email = newAddress()
  const json = { email, password }
  const { body } = await first.call('POST', '/reg', { json })
  const token = body.session.token as string
  const rejecting = (name: string) => new RegExp(`${name}: .*rejects the credential of this service`)
  const readiness = async (name: ServiceName) => {
    const response = await second.ops(name, '/readyz?verbose')
    return { status: response.status, text: await response.text() }
  }

  await restart(second, 'user-svc', tooEarly)
  await until('user-svc names session-svc', async () =>
    rejecting('session-svc').test((await readiness('user-svc').catch(() => ({ text: '' }))).text)
  )
  t.equal((await readiness('user-svc')).status, 503)

  await restart(second, 'gateway', tooEarly)
  await until('the gateway names both', async () => {
    const { text } = await readiness('gateway').catch(() => ({ text: '' }))
    return rejecting('session-svc').test(text) && rejecting('user-svc').test(text)
  })
  t.equal((await readiness('gateway')).status, 503)
  const traffic = await startTraffic(t, first.call, requestsPerSecond)
  for (const [method, path, options] of [
    ['POST', '/reg', { json: { email: newAddress(), password } }],
    ['POST', '/auth', { json }],
    ['GET', '/session', { token }],
    ['DELETE', '/logout', { token }],
    ['DELETE', '/delete', { token }]
  ] as const) {
    t.equal((await second.call(method, path, options)).status, 503, `${method} ${path}`)
  }
  t.equal((await first.call('GET', '/session', { token })).status, 200, 'nothing was done')
  await traffic.untilServed('POST /reg', 'POST /auth', 'GET /session')

  requireServed(t, await traffic.end())
})
