/** The pool of connections to PostgreSQL: filled before it is needed, and again after losses. */

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { createTestDatabase } from '#common/testing.ts'
import { connectDatabase } from '../database.ts'

const maxConnections = 5

async function setUp(t: Test) {
  const url = await createTestDatabase(t)
  const admin = postgres(url, { max: 1, onnotice: () => {} })
  const pool = connectDatabase({ url, maxConnections, queryTimeout: 3000 })
  t.teardown(() => Promise.all([pool.close(), admin.end()]))
  /** The processes of the server that serve the pool. */
  const backends = async () =>
    (await admin`select pid from pg_stat_activity where datname = current_database() and application_name = 'user-svc'`)
      .map(({ pid }) => pid as number)
      .sort((a, b) => a - b)
  return { ...pool, admin, backends }
}

const ask = ({ db }: Pick<ReturnType<typeof connectDatabase>, 'db'>) => db.execute(sql`select pg_sleep(0.05)`)

t.test('a pool that is filled opens nothing more', async (t) => {
  const pool = await setUp(t)
  t.equal((await pool.backends()).length, 0, 'what nobody uses opens nothing')
  await ask(pool)
  const [first] = await pool.backends()
  await pool.fill()
  const filled = await pool.backends()
  t.equal(filled.length, maxConnections)
  t.ok(filled.includes(first as number), 'what was open stays open')
  await pool.fill()
  await Promise.all(Array.from({ length: 3 * maxConnections }, () => ask(pool)))
  t.same(await pool.backends(), filled)
})

t.test('what is lost is opened again, while others are in use', async (t) => {
  const pool = await setUp(t)
  await pool.fill()
  const filled = await pool.backends()
  const underWay = Promise.resolve(pool.db.execute(sql`select pg_sleep(0.5)`))
  await sleep(50)
  await pool.admin`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'user-svc' and state = 'idle'`
  while ((await pool.backends()).length > 1) await sleep(10)
  await sleep(50)
  await pool.fill()
  const again = await pool.backends()
  t.equal(again.length, maxConnections)
  t.equal(again.filter((pid) => filled.includes(pid)).length, 1)
  await t.resolves(underWay)
})

t.test('where the server gives fewer connections, those that there are serve', async (t) => {
  const url = new URL(await createTestDatabase(t))
  const admin = postgres(url.href, { max: 1, onnotice: () => {} })
  const role = `limited_${randomBytes(6).toString('hex')}`
  await admin.unsafe(`create role ${role} login password 'limited' connection limit 2`)
  Object.assign(url, { username: role, password: 'limited' })
  const { db, fill, close } = connectDatabase({ url: url.href, maxConnections, queryTimeout: 3000 })
  try {
    await ask({ db })
    await t.rejects(fill(), { code: '53300' })
    await t.resolves(ask({ db }))
    await admin.unsafe(`alter role ${role} connection limit -1`)
    // The failures are to be over: until then nobody tries.
    await sleep(1000)
    await fill()
    const [open] = await admin`select count(*)::int as count from pg_stat_activity where usename = ${role}`
    t.equal(open?.count, maxConnections)
  } finally {
    await close()
    await admin.unsafe(`drop role ${role}`)
    await admin.end()
  }
})
