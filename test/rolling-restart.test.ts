/** Two instances of user-svc and session-svc, restarted one after the other under load: requests succeed. */

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { startFailoverProxy } from './support/failover-proxy.ts'
import { createProduct, longBudgets, startWithinMs } from './support/product.ts'
import { startTraffic, summary } from './support/traffic.ts'

t.setTimeout(600_000)

const first = await createProduct(t, longBudgets)
const { USER_SVC_POSTGRES_URL, RPC_TOKEN } = first.env as { USER_SVC_POSTGRES_URL: string; RPC_TOKEN: string }
const second = await createProduct(t, { ...longBudgets, USER_SVC_POSTGRES_URL, RPC_TOKEN })
const addresses = {
  RPC_USER_SVC_URL: `http://127.0.0.1:${await startFailoverProxy(t, [first.ports.users, second.ports.users])}`,
  RPC_SESSION_SVC_URL: `http://127.0.0.1:${await startFailoverProxy(t, [first.ports.sessions, second.ports.sessions])}`
}
for (const { env } of [first, second]) Object.assign(env, addresses)
// This one still accepts calls for a second after it has become unready.
second.env.SHUTDOWN_DRAIN_DELAY = '1s'
second.start('session-svc', 'user-svc')
await first.startAll()
for (const name of ['session-svc', 'user-svc'] as const)
  await until(`the second ${name} is ready`, () => second.isReady(name))

t.test('requests succeed during the restarts, apart from 2 % of 503', async (t) => {
  const traffic = await startTraffic(t, first.call, 20)
  for (const name of ['user-svc', 'session-svc'] as const) {
    for (const product of [first, second]) {
      await sleep(500)
      t.equal(await product.stop(name), 0)
      product.start(name)
      await until(`${name} is ready again`, () => product.isReady(name), startWithinMs)
    }
  }
  await sleep(500)
  const outcomes = await traffic.end()
  t.comment(summary(outcomes))
  const others = outcomes.filter(({ status }) => status < 200 || status > 299)
  t.same(
    others.filter(({ status }) => status !== 503),
    []
  )
  // A busy machine sheds some load without a restart too.
  const from = outcomes[0]?.startedAt ?? 0
  const when = others.map(({ route, startedAt }) => `${route} after ${Math.round(startedAt - from)} ms`)
  t.ok(others.length <= outcomes.length / 50, `${others.length} of ${outcomes.length} were 503: ${when}`)
})
