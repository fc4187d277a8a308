/** Half-open connections: a network that loses everything and closes nothing, between any two parts of the product. */

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { startLossyProxy } from './support/lossy-proxy.ts'
import { createProduct } from './support/product.ts'
import { durationsMs, startTraffic, summary } from './support/traffic.ts'

t.setTimeout(600_000)

const silentMs = 5000
// A busy machine is slow; one that hangs is a good deal slower.
const slackMs = 2000
const budgetsMs = { 'GET /session': 1000, 'POST /reg': 5000, 'POST /auth': 5000 }

const product = await createProduct(t, { LOG_STDOUT: 'error' })
const { env, ports, call } = product
const postgres = new URL(env.USER_SVC_POSTGRES_URL as string)
const redis = new URL(engineAddress('TEST_REDIS_URL'))
const proxies = {
  postgres: await startLossyProxy(t, { port: Number(postgres.port) }),
  redis: await startLossyProxy(t, { port: Number(redis.port) }),
  'user-svc': await startLossyProxy(t, { port: ports.users }),
  'session-svc': await startLossyProxy(t, { port: ports.sessions })
}
postgres.port = String(proxies.postgres.port)
redis.port = String(proxies.redis.port)
Object.assign(env, {
  USER_SVC_POSTGRES_URL: postgres.href,
  REDIS_URL: redis.href,
  RPC_USER_SVC_URL: `http://127.0.0.1:${proxies['user-svc'].port}`,
  RPC_SESSION_SVC_URL: `http://127.0.0.1:${proxies['session-svc'].port}`
})
await product.startAll()

for (const name of Object.keys(proxies) as (keyof typeof proxies)[]) {
  t.test(`silence before ${name}`, async (t) => {
    const proxy = proxies[name]
    const traffic = await startTraffic(t, call)
    await sleep(500)
    const before = proxy.openedAt.length
    proxy.fallSilent()
    await sleep(silentMs)
    const connects = proxy.openedAt.length - before
    proxy.speak()
    const tookMs = await traffic.works('POST /auth', 'GET /session')
    // A connection that was made in the silence may have to be found out first, which takes Redis's client 3 s.
    t.ok(tookMs < 4000 + slackMs, `${tookMs} ms after the silence; ${connects} connections were tried in it`)
    t.ok(connects < 15 * (silentMs / 1000), 'no storm')
    for (const each of ['session-svc', 'user-svc', 'gateway'] as const) {
      await until(`${each} is ready`, () => product.isReady(each), 2000 + slackMs)
    }
    const outcomes = await traffic.end()
    t.comment(summary(outcomes))
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
  })
}
