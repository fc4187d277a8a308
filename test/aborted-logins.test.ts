/** Logins of clients that disconnect, beside honest logins: no RPC connection ends, and few hashes are computed in vain. */

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { freePort } from '#common/testing/ports.ts'
import { until } from '#common/testing/until.ts'
import { sendAborted } from './support/aborted-requests.ts'
import { createProduct, newAddress, password } from './support/product.ts'
import { startTcpProxy } from './support/tcp-proxy.ts'

t.setTimeout(600_000)

const users = await freePort()
const proxy = await startTcpProxy(0, { host: '127.0.0.1', port: users })
t.teardown(proxy.close)
const product = await createProduct(t, {
  USER_SVC_PORT: String(users),
  RPC_USER_SVC_URL: `http://127.0.0.1:${proxy.port}`,
  USER_SVC_PASSWORD_COST: '10',
  USER_SVC_PASSWORD_HASHES_AT_ATIME: '2',
  // Long enough for a busy machine: the test checks the order and the number of hashes, not their speed.
  GATEWAY_BUDGETS_AUTH: '20s',
  GATEWAY_BUDGETS_REG: '20s',
  USER_SVC_POSTGRES_QUERY_TIMEOUT: '15s',
  GATEWAY_CONNECTIONS_MAX_PER_NETWORK: '10000',
  LOG_STDOUT: 'error'
})
await product.startAll()

/** The sum of a metric over its labels. */
async function metric(service: 'gateway' | 'user-svc', name: string): Promise<number> {
  const text = await (await product.ops(service, '/metrics')).text()
  const series = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
  if (series.length === 0) throw new Error(`${service} has no metric ${name}`)
  return series.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

const startedHashes = () => metric('user-svc', 'auth_password_hash_wait_seconds_count')
const computedHashes = () => metric('user-svc', 'auth_password_hash_seconds_count')
/** The rejections by user-svc and gateway. On a busy machine, the breaker can open for a moment: it counts its rejections, too. */
async function rejections(): Promise<number> {
  const counts = await Promise.all([
    metric('user-svc', 'auth_shed_total'),
    metric('gateway', 'auth_shed_total'),
    metric('gateway', 'rpc_client_overload_refused_total'),
    metric('gateway', 'rpc_client_breaker_refused_total'),
    metric('user-svc', 'rpc_client_breaker_refused_total')
  ])
  return counts.reduce((sum, count) => sum + count)
}

const email = newAddress()
t.equal((await product.call('POST', '/reg', { json: { email, password } })).status, 201)

/** Sends a login every 500 ms. @returns stops it and resolves to the answers */
function startHonestLogins() {
  const logins: Promise<{ status: number; retryAfter: string | null; detail: unknown }>[] = []
  let isStopped = false
  async function run(): Promise<void> {
    while (!isStopped) {
      const login = product.call('POST', '/auth', { json: { email, password } })
      logins.push(
        login.then(({ status, headers, body }) => ({
          status,
          retryAfter: headers.get('retry-after'),
          detail: (body as { detail?: unknown }).detail
        }))
      )
      await sleep(500)
    }
  }
  const running = run()
  return async () => {
    isStopped = true
    await running
    return Promise.all(logins)
  }
}

const loads = [
  { count: 840, perSecond: 140, abortAfterMs: 12 },
  { count: 1000, perSecond: 200, abortAfterMs: 60 }
]

const answer = 'honest logins get 200, or 503 with `Retry-After` that `auth_shed_total` counts; no connection ends'
await fieldCase(t, 1, answer, async (t) => {
  for (const load of loads) {
    const body = JSON.stringify({ email: newAddress(), password })
    const head = `POST /auth HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`
    const before = { hashes: await computedHashes(), rejections: await rejections() }
    const honest = startHonestLogins()
    const aborted = await sendAborted(product.ports.rest, `${head}\r\n\r\n${body}`, load)
    const logins = await honest()
    const others = logins.filter(({ status }) => status !== 200)
    t.same(
      others.filter(({ status, retryAfter }) => status !== 503 || !(Number(retryAfter) >= 1)),
      [],
      'no other status than 200 and 503'
    )
    t.ok(others.length < logins.length, 'honest logins succeed')
    const counted = (await rejections()) - before.rejections
    const details = others.map(({ detail }) => detail).join(' ')
    t.ok(others.length <= counted, `${others.length} honest logins were rejected, ${counted} counted: ${details}`)

    // A hash that was started is computed to its end; no other hash is.
    await until('the started hashes are computed', async () => (await startedHashes()) === (await computedHashes()))
    const hashes = (await computedHashes()) - before.hashes
    t.comment(
      `${aborted} of ${load.count} aborted after ${load.abortAfterMs} ms, ${logins.length} honest: ${hashes} hashes`
    )
    t.ok(aborted > load.count / 2, `${aborted} of ${load.count} logins were aborted`)
    t.ok(hashes - logins.length < aborted / 2, `${hashes} hashes were computed`)
  }
  t.equal(proxy.endedByTarget(), 0, 'user-svc ended no connection')
})
