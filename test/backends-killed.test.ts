/** PostgreSQL's backends are killed under load: no process ends, no query stays pending, every response keeps its deadline. */

import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t from 'tap'
import { engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { createProduct, newAddress, password } from './support/product.ts'

t.setTimeout(600_000)

t.test('logins, registrations and deletions keep their promises while their connections are killed', async (t) => {
  t.setTimeout(600_000)
  const product = await createProduct(t, { USER_SVC_POSTGRES_MAX_CONNECTIONS: '5' })
  await product.startAll()
  const { call } = product
  const admin = postgres(engineAddress('TEST_POSTGRES_URL'), { max: 1, onnotice: () => {} })
  t.teardown(() => admin.end())
  const database = new URL(product.env.USER_SVC_POSTGRES_URL as string).pathname.slice(1)
  async function open(): Promise<number> {
    const rows = await admin`
      select from pg_stat_activity where datname = ${database} and application_name = 'user-svc'`
    return rows.length
  }
  t.equal(await open(), 5, 'a ready user-svc has all its connections')
  const email = newAddress()
  t.equal((await call('POST', '/reg', { json: { email, password } })).status, 201)

  const statuses = new Map<string, number>()
  const registered = new Set<string>()
  let slowestMs = 0
  let killed = 0
  let isOver = false

  async function timed(...args: Parameters<typeof call>) {
    const startedAt = performance.now()
    const answer = await call(...args)
    slowestMs = Math.max(slowestMs, performance.now() - startedAt)
    const key = `${args[0]} ${args[1]} ${answer.status}`
    statuses.set(key, (statuses.get(key) ?? 0) + 1)
    return answer
  }

  async function user(): Promise<void> {
    while (!isOver) {
      await timed('POST', '/auth', { json: { email, password } })
      const own = newAddress()
      const answer = await timed('POST', '/reg', { json: { email: own, password } })
      if (answer.status !== 201) continue
      registered.add(own)
      if (Math.random() < 0.3) {
        const { status } = await timed('DELETE', '/delete', { token: answer.body.session.token })
        // 503: certainly not applied.
        if (status !== 503) registered.delete(own)
      }
    }
  }

  const users = Array.from({ length: 12 }, user)
  for (let round = 0; round < 100; round += 1) {
    await sleep(60)
    const rows = await admin`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = ${database} and application_name = 'user-svc'`
    killed += rows.length
  }
  isOver = true
  await Promise.all(users)
  t.comment(
    `${killed} backends killed; slowest answer ${Math.round(slowestMs)} ms; ${[...statuses].map(([key, n]) => `${key}: ${n}`).join(', ')}`
  )
  t.ok(killed > 30)
  t.ok(slowestMs < 6000, 'no answer took longer than its deadline')
  const allowed = /^(POST \/auth (200|503|504)|POST \/reg (201|503|504)|DELETE \/delete (204|503|504))$/
  t.same(
    [...statuses.keys()].filter((key) => !allowed.test(key)),
    []
  )
  t.equal(product.process('user-svc')?.exitCode, null, 'user-svc still runs')
  t.notMatch(product.output('user-svc'), /sys_crash|uncaught|unhandled/i)

  await until(
    'login works again',
    async () => (await call('POST', '/auth', { json: { email, password } })).status === 200
  )
  const answers = await Promise.all(
    Array.from({ length: 30 }, () => call('POST', '/auth', { json: { email, password } }))
  )
  const failed = answers.filter(({ status }) => status !== 200)
  t.same(failed, [], 'every connection is usable')
  await until('all connections are open again', async () => (await open()) === 5)
  for (const each of registered) {
    t.equal(
      (await call('POST', '/auth', { json: { email: each, password } })).status,
      200,
      'a registered account exists'
    )
  }
  t.equal(await product.stop('user-svc'), 0, 'user-svc stops in order')
})
