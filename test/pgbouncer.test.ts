/** user-svc behind the real PgBouncer in transaction mode: starts, outages, statement deadlines, migrations. */

import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import t from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { createTestDatabase } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { connectDatabase } from '../user-svc/database.ts'
import { migrateDatabase } from '../user-svc/migrations.ts'
import { startPgbouncer } from './support/pgbouncer.ts'
import { createProduct, newAddress, password, startWithinMs } from './support/product.ts'

t.setTimeout(600_000)

if (spawnSync('pgbouncer', ['--version']).error) {
  t.plan(0, 'PgBouncer is not installed')
  process.exit(0)
}

fieldCase(
  t,
  5,
  'behind PgBouncer in transaction mode user-svc becomes ready twice, and an outage is 503',
  async (t) => {
    const { url, server } = await startPgbouncer(t, await createTestDatabase(t), { query_wait_timeout: '2' })
    const product = await createProduct(t, { USER_SVC_POSTGRES_URL: url })
    const { call } = product
    await product.startAll()
    const email = newAddress()
    const login = () => call('POST', '/auth', { json: { email, password } })
    t.equal((await call('POST', '/reg', { json: { email, password } })).status, 201)
    t.equal(await product.stop('user-svc'), 0)
    product.start('user-svc')
    await until('user-svc is ready a second time', () => product.isReady('user-svc'), startWithinMs)
    await until('logins work', async () => (await login()).status === 200)
    for (const mode of ['refuse', 'unresponsive'] as const) {
      await server.become(mode)
      const statuses = new Set<number>()
      for (let round = 0; round < 8; round++) {
        const calls = [login(), call('POST', '/reg', { json: { email: newAddress(), password } })]
        for (const { status } of await Promise.all(calls)) statuses.add(status)
        await sleep(150)
      }
      t.same(
        [...statuses].filter((status) => status !== 503 && status !== 504),
        [],
        mode
      )
      await server.become('pass')
      await until('logins work again', async () => (await login()).status === 200, 40_000)
    }
  }
)

fieldCase(t, 5, 'a statement behind PgBouncer is cancelled at its deadline, on the server too', async (t) => {
  const direct = await createTestDatabase(t)
  const { url } = await startPgbouncer(t, direct)
  const admin = postgres(direct, { max: 1, onnotice: () => {} })
  t.teardown(() => admin.end())
  const { db, close } = connectDatabase({ url, maxConnections: 2, queryTimeout: 300 })
  t.teardown(close)
  await until('PgBouncer answers', () => postgresAnswers(url), 10_000)
  const error = await db.execute(sql`select pg_sleep(30)`).catch((thrown) => thrown)
  t.equal(error.cause?.code, '57014')
  t.match(
    await admin`select count(*)::int as n from pg_stat_activity where query like '%pg_sleep(30)%' and state = 'active'
    and pid <> pg_backend_pid()`,
    [{ n: 0 }]
  )
  await db.execute(sql`select pg_sleep(0.1)`)
})

fieldCase(
  t,
  5,
  'a migration that waits for the lock of another connection names it, and leaves none behind',
  async (t) => {
    const direct = await createTestDatabase(t)
    const { url } = await startPgbouncer(t, direct)
    const admin = postgres(direct, { max: 1, onnotice: () => {}, connection: { application_name: 'an earlier start' } })
    t.teardown(() => admin.end())
    const [held] = await admin`select pg_backend_pid() as pid, pg_advisory_lock(7311902)`
    const lines: string[] = []
    const log = createLogger('user-svc', 'warn', { write: (line) => void lines.push(line) })
    await until('PgBouncer answers', () => postgresAnswers(url), 10_000)
    const migrated = migrateDatabase({ url }, log)
    await until('a log line names the holder', () => lines.length > 0)
    await sleep(600)
    t.equal(lines.length, 1)
    t.match(JSON.parse(lines[0] ?? ''), {
      event: 'migration_waits',
      reason: `held by pid ${held?.pid} (an earlier start, `
    })
    await admin`select pg_advisory_unlock_all()`
    await migrated
    t.match(await admin`select count(*)::int as n from pg_locks where locktype = 'advisory'`, [{ n: 0 }])
    await admin`select pg_advisory_lock(7311902)`
    await migrateDatabase({ url }, log)
    t.pass('a database with the newest schema needs no lock')
  }
)

async function postgresAnswers(url: string): Promise<boolean> {
  const { db, close } = connectDatabase({ url, maxConnections: 1, queryTimeout: 1000 })
  return db
    .execute(sql`select`)
    .then(
      () => true,
      () => false
    )
    .finally(close)
}
