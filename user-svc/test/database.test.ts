/** The connection pool: warm-up, unresponsive connections, and settings of the server that end connections. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Code } from '@connectrpc/connect'
import { sql } from 'drizzle-orm'
import t from 'tap'
import { NotConnectedError, toConnectError } from '#common/errors/driver-errors.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { freePort } from '#common/testing/ports.ts'
import { until } from '#common/testing/until.ts'
import { startTcpProxy } from '../../test/support/tcp-proxy.ts'
import { connectDatabase } from '../database.ts'
import { createTestPool, maxConnections } from './pool.ts'

t.test('a warm pool opens no more connections', async (t) => {
  const { query, warmUp, backends } = await createTestPool(t)
  t.same(await backends(), [], 'a new pool opens none')
  await query()
  const [first] = await backends()
  await warmUp()
  const warm = await backends()
  t.equal(warm.length, maxConnections)
  t.ok(warm.includes(first as number), 'the open connection stays open')
  await Promise.all(Array.from({ length: 3 * maxConnections }, query))
  t.same(await backends(), warm)
})

t.test('a connect that fails is certainly not applied, for a write too', async (t) => {
  const { db, close } = connectDatabase({
    url: `postgres://u:p@127.0.0.1:${await freePort()}/x`,
    maxConnections: 1,
    queryTimeout: 3000
  })
  t.teardown(close)
  const error = await db.execute(sql`delete from users`).catch((thrown) => thrown)
  t.type(error.cause, NotConnectedError)
  t.equal(toConnectError(error, true).code, Code.Unavailable)
})

t.test('a connection that does not respond to a ping is closed together with all idle connections', async (t) => {
  let proxy: Awaited<ReturnType<typeof startTcpProxy>> | undefined
  const { warmUp, isReadOnly, query } = await createTestPool(t, async (url) => {
    proxy = await startTcpProxy(0, { port: Number(url.port) })
    t.teardown(proxy.close)
    url.port = String(proxy.port)
  })
  await warmUp()
  t.equal(proxy?.openedAt.length, maxConnections)
  await proxy?.become('lose')
  await proxy?.become('pass')
  await t.rejects(isReadOnly(), { message: 'Query read timeout' })
  await t.resolves(isReadOnly(), 'the next ping uses a new connection')
  await Promise.all(Array.from({ length: 3 * maxConnections }, query))
  t.equal(proxy?.openedAt.length, 2 * maxConnections, 'every connection was replaced')
})

fieldCase(t, 10, 'a lock_timeout of the database is 503, for reads and for writes', async (t) => {
  const { db, admin } = await createTestPool(t, async (url, admin) => {
    await admin.unsafe(`alter database ${url.pathname.slice(1)} set lock_timeout = '200ms'`)
  })
  await admin.begin(async (transaction) => {
    await transaction`lock table users`
    for (const statement of [sql`select from users`, sql`delete from users`]) {
      const error = await db.execute(statement).catch((thrown) => thrown)
      t.equal(error.cause?.code, '55P03')
      t.equal(toConnectError(error, true).code, Code.Unavailable)
    }
  })
})

fieldCase(t, 10, 'under an idle_session_timeout of 300 ms the pool works on', async (t) => {
  const { query, warmUp, backends } = await createTestPool(t, async (url, admin) => {
    await admin.unsafe(`alter database ${url.pathname.slice(1)} set idle_session_timeout = '300ms'`)
  })
  await warmUp()
  const codes = new Set<Code>()
  let ended = 0
  for (let round = 0; round < 40; round++) {
    const before = await backends()
    await query().catch((error) => codes.add(toConnectError(error).code))
    // 298 ms: the next statement meets the end of its connection now and then.
    await sleep(round % 2 ? 10 : 298)
    const after = await backends()
    ended += before.filter((pid) => !after.includes(pid)).length
  }
  t.ok(ended > 10, `the server ended ${ended} connections`)
  codes.delete(Code.Unavailable)
  t.same([...codes], [], 'a statement that met the end of its connection is retried, or 503')
  await until('a query succeeds', async () => (await query()) === undefined)
})
