/** The statements of the outbox read by indexes, with 50,000 pending rows and 100,000 that are done. */

import { sql } from 'drizzle-orm'
import t from 'tap'
import { accountEventTypes } from '../../outbox/account-event-types.ts'
import { createOutboxRows } from '../../outbox/outbox-rows.ts'
import { createOutbox } from './outbox.ts'

for (const hasStatistics of [true, false]) {
  t.test(`claims scan no table, ${hasStatistics ? 'with' : 'without'} statistics`, async (t) => {
    const { db, insertCreations } = await createOutbox(t)
    await db.execute(sql`alter table outbox set (autovacuum_enabled = false)`)
    await insertCreations(150_000)
    await db.execute(sql`update outbox set done_at = now() - interval '31 days' where id % 3 > 0`)
    if (hasStatistics) await db.execute(sql`analyze outbox`)
    await db.transaction(async (transaction) => {
      const rows = createOutboxRows(transaction as unknown as typeof db)
      const scans = sql`select pg_stat_get_xact_numscans('outbox'::regclass)::int as scans`
      const { rows: before } = await transaction.execute(scans)
      t.same(await rows.claimRevocations(accountEventTypes), [])
      const claimed = await rows.claimDeliveries(accountEventTypes)
      t.equal(claimed.length, 500)
      await rows.markDone(claimed)
      t.same((await transaction.execute(scans)).rows, before)
    })
  })
}

t.test('a deletion of expired rows deletes the 10,000 oldest', async (t) => {
  const { db, insertCreations, count } = await createOutbox(t)
  await insertCreations(25_000)
  await db.execute(sql`update outbox set done_at = now() - interval '31 days' - interval '1 second' * id`)
  const { deleteExpired } = createOutboxRows(db)
  await deleteExpired()
  t.equal(await count('id <= 15000'), 15_000)
  t.equal(await count('true'), 15_000)
  await deleteExpired()
  await deleteExpired()
  t.equal(await count('true'), 0)
})
