/** The readiness probe of PostgreSQL: what makes it fail, and what it warns about. */

import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { until } from '#common/testing/until.ts'
import { withinMs } from '#common/time/timeout.ts'
import { createRole, createTestPool, maxConnections } from './pool.ts'

t.test('the first probe opens all connections', async (t) => {
  const { probe, backends, events } = await createTestPool(t)
  t.equal(await probe(), undefined)
  t.equal((await backends()).length, maxConnections)
  t.same(events(), [])
})

t.test('a role that may open fewer connections than configured is served, and one line reports it', async (t) => {
  const { query, backends, probe, events } = await createTestPool(t, async (url, admin) => {
    const role = await createRole(t, url, admin)
    await admin.unsafe(`alter role ${role} connection limit 2`)
  })
  t.equal(await probe(), undefined)
  t.equal(await probe(), undefined)
  t.same(events(), ['postgres_connections_missing'])
  t.equal((await backends()).length, 2)
  // A connection that the server has refused counts until it is closed.
  const isServed = () =>
    Promise.all([query(), query()]).then(
      () => true,
      () => false
    )
  await until('two calls at once are served', isServed)
})

t.test('a locked table fails the probe and closes no connection', async (t) => {
  const { admin, backends, probe } = await createTestPool(t)
  await probe()
  const warm = await backends()
  await admin.begin(async (transaction) => {
    await transaction`lock table users`
    await t.rejects(withinMs(2000, probe()), { name: 'TimeoutError' })
  })
  t.same(await backends(), warm)
})

fieldCase(t, 10, 'a rotated password is reported while the open connections work on', async (t) => {
  let role = ''
  const { query, admin, backends, probe, events, clock } = await createTestPool(t, async (url, admin) => {
    role = await createRole(t, url, admin)
  })
  t.equal(await probe(), undefined)
  await admin.unsafe(`alter role ${role} password 'second'`)
  await clock.advance(30_000)
  await until('the probe warns', async () => (await probe()) !== undefined)
  t.equal(await probe(), 'no new connection can be opened (28P01: the credentials are rejected)')
  t.same(events(), ['postgres_connections_rejected'])
  await Promise.all(Array.from({ length: 3 * maxConnections }, query))
  t.equal((await backends()).length, maxConnections)
  await admin.unsafe(`alter role ${role} password 'first'`)
  await clock.advance(30_000)
  await until('the warning ends', async () => (await probe()) === undefined)
  t.same(events(), ['postgres_connections_rejected', 'postgres_connections_accepted'])
})

t.test('a database that rejects writes is reported while reads are served', async (t) => {
  const { admin, query, probe } = await createTestPool(t)
  t.equal(await probe(), undefined)
  const [{ name }] = (await admin`select current_database() as name`) as [{ name: string }]
  const endConnections = () =>
    admin`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name} and pid <> pg_backend_pid()`
  const probed = () => probe().catch(() => 'met an ended connection')
  await admin.unsafe(`alter database ${name} set default_transaction_read_only = on`)
  await endConnections()
  await until('the probe warns', async () => /^is read-only: .*primary/.test((await probed()) ?? ''))
  await t.resolves(query())
  await admin.unsafe('set default_transaction_read_only = off')
  await admin.unsafe(`alter database ${name} reset default_transaction_read_only`)
  await endConnections()
  await until('the warning ends', async () => (await probed()) === undefined)
})
