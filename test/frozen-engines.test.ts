/** Frozen engines: every response keeps its route's budget, and the product recovers two seconds after the engine. */

import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { until } from '#common/testing/until.ts'
import { startOwnPostgres, startOwnRedis } from './support/own-engine.ts'
import { createProduct, newAddress, password } from './support/product.ts'
import { durationsMs, type Outcome, startTraffic, summary } from './support/traffic.ts'

t.setTimeout(600_000)
t.jobs = 2

const frozenMs = 20_000
const budgetsMs = {
  'GET /session': 1000,
  'DELETE /logout': 3000,
  'DELETE /delete': 3000,
  'POST /reg': 5000,
  'POST /auth': 5000
}
// For a busy machine. A service that hangs needs much longer.
const slackMs = 2000

function withinBudgets(t: Test, outcomes: Outcome[]): void {
  for (const [route, budgetMs] of Object.entries(budgetsMs)) {
    const { most, all } = durationsMs(outcomes, route)
    t.ok(
      most < budgetMs + slackMs && all < budgetMs + 3 * slackMs,
      `${route}: nine of ten in ${most} ms, all in ${all}`
    )
  }
  t.same(
    outcomes.filter(({ status }) => status === 0 || status === 401 || status === 500),
    []
  )
}

async function started(t: Test, overrides: Record<string, string>) {
  const product = await createProduct(t, { LOG_STDOUT: 'error', ...overrides })
  await product.startAll()
  const email = newAddress()
  const { body } = await product.call('POST', '/reg', { json: { email, password } })
  return { product, token: body.session.token as string }
}

t.test('a frozen PostgreSQL: sessions work, other responses keep their budgets, and logins recover', async (t) => {
  const engine = await startOwnPostgres(t)
  const { product } = await started(t, { USER_SVC_POSTGRES_URL: engine.url })
  const { call } = product
  const traffic = await startTraffic(t, call)
  for (const ms of [1000, frozenMs]) {
    engine.signal('SIGSTOP')
    await sleep(ms)
    if (ms === frozenMs) t.notOk(await product.isReady('user-svc'))
    engine.signal('SIGCONT')
    const tookMs = await traffic.untilServed('POST /auth')
    t.ok(tookMs < 2000 + slackMs, `${tookMs} ms after ${ms} ms`)
    await until('user-svc is ready', () => product.isReady('user-svc'), 2000 + slackMs)
  }
  await sleep(500)
  const outcomes = await traffic.end()
  t.comment(summary(outcomes))
  withinBudgets(t, outcomes)
  const sessions = outcomes.filter(({ route }) => route === 'GET /session')
  const answered = sessions.filter(({ status }) => status === 200).length / sessions.length
  t.ok(answered > 0.9, `${Math.round(answered * 100)} % of GET /session are 200 without PostgreSQL`)
  const admin = postgres(engine.url, { max: 1, onnotice: () => {} })
  const connections = async () =>
    admin<{ state: string }[]>`select state from pg_stat_activity where application_name = 'user-svc'`
  await until('no connection is stuck, and the pool keeps its limit', async () => {
    const found = await connections()
    return found.length <= 10 && found.every(({ state }) => state === 'idle')
  })
  await admin.end()
  t.equal(await product.stop('user-svc'), 0)
})

t.test('a frozen Redis: responses keep their budgets, and sessions and rate limits recover', async (t) => {
  const engine = await startOwnRedis(t)
  const most = '1000000'
  const { product, token } = await started(t, {
    REDIS_URL: engine.url,
    GATEWAY_RATE_LIMIT_ENABLED: 'true',
    GATEWAY_RATE_LIMIT_MAX: most,
    GATEWAY_RATE_LIMIT_CREDENTIALS_MAX: most,
    GATEWAY_RATE_LIMIT_SESSION_MAX: most
  })
  const { call } = product
  const traffic = await startTraffic(t, call)
  for (const ms of [1500, frozenMs]) {
    engine.signal('SIGSTOP')
    await sleep(ms)
    if (ms === frozenMs) for (const name of ['session-svc', 'gateway'] as const) t.notOk(await product.isReady(name))
    engine.signal('SIGCONT')
    const tookMs = await traffic.untilServed('GET /session')
    t.ok(tookMs < 2000 + slackMs, `${tookMs} ms after ${ms} ms`)
    for (const name of ['session-svc', 'gateway'] as const) {
      await until(`${name} is ready`, () => product.isReady(name), 2000 + slackMs)
    }
  }
  await sleep(1500)
  const limited = await call('GET', '/session', { token })
  t.ok(limited.headers.get('ratelimit'))
  const outcomes = await traffic.end()
  t.comment(summary(outcomes))
  withinBudgets(t, outcomes)
})
