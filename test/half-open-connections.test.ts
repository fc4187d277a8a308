/** Half-open connections: a network between two parts of the product loses all packets and closes no connection. */

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { createProduct } from './support/product.ts'
import { startTcpProxy } from './support/tcp-proxy.ts'
import { durationsMs, startTraffic, summary } from './support/traffic.ts'

t.setTimeout(600_000)

const outageMs = 5000
// For a busy machine. A service that waits for a lost connection needs much longer.
const slackMs = 2000
const budgetsMs = { 'GET /session': 1000, 'POST /reg': 5000, 'POST /auth': 5000 }

const product = await createProduct(t, { LOG_STDOUT: 'error' })
const { env, ports, call } = product
const postgres = new URL(env.USER_SVC_POSTGRES_URL as string)
const redis = new URL(engineAddress('TEST_REDIS_URL'))
const proxies = {
  postgres: await startTcpProxy(0, { port: Number(postgres.port) }),
  redis: await startTcpProxy(0, { port: Number(redis.port) }),
  'user-svc': await startTcpProxy(0, { port: ports.users }),
  'session-svc': await startTcpProxy(0, { port: ports.sessions })
}
t.teardown(async () => void (await Promise.all(Object.values(proxies).map(({ close }) => close()))))
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
  t.test(`packet loss before ${name}: requests keep their budgets and recover`, async (t) => {
    const proxy = proxies[name]
    const traffic = await startTraffic(t, call)
    await sleep(500)
    const before = proxy.openedAt.length
    await proxy.become('lose')
    await sleep(outageMs)
    const connects = proxy.openedAt.length - before
    await proxy.become('pass')
    const tookMs = await traffic.untilServed('POST /auth', 'GET /session')
    // Redis' client takes 3 s to notice that a connection of this time is lost.
    t.ok(tookMs < 4000 + slackMs, `${tookMs} ms after the packet loss, with ${connects} connection attempts in it`)
    t.ok(connects < 15 * (outageMs / 1000), 'no connection storm')
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
