/** The effect of an account's deletion on each table, as schema.ts declares it, in the catalogue of a migrated database. */

import t from 'tap'
import { effectOfDeletion } from '../schema.ts'
import { startUserSvc } from './service.ts'

const { client, sql } = await startUserSvc(t)
const password = 'correct horse battery staple'

async function tablesOfCatalogue(): Promise<string[]> {
  const rows = await sql`
    select table_schema as schema, table_name as name from information_schema.tables
    where table_schema not in ('pg_catalog', 'information_schema', 'drizzle') order by name`
  return rows.map(({ schema, name }) => (schema === 'public' ? name : `${schema}.${name}`))
}

/** The rows of a table that hold a text in any column. */
async function rowsWith(table: string, text: string): Promise<number> {
  const [row] = await sql`select count(*)::int as n from ${sql(table)} as each where each::text like ${`%${text}%`}`
  return row?.n as number
}

t.test('every table of a migrated database declares the effect of deletion', async (t) => {
  t.same(await tablesOfCatalogue(), Object.keys(effectOfDeletion).toSorted())
})

t.test('a deletion erases the address, and the user id unless the table is declared to hold it', async (t) => {
  const email = 'ada@example.org'
  const { user } = await client.registerAndLogin({ email, password })
  const userId = user?.id as string
  const effects = Object.entries(effectOfDeletion)
  const erased = effects.flatMap(([table, each]) =>
    each.effect === 'erased' ? [{ table, column: each.userIdColumn }] : []
  )
  for (const { table, column } of erased) {
    const rows = await sql`select from ${sql(table)} where ${sql(column)} = ${userId}`
    t.ok(rows.length > 0, `${table} has a row of the user; if not, this test must create one`)
  }
  await client.deleteAccount({ userId })
  for (const [table, each] of effects) {
    t.equal(await rowsWith(table, email), 0, `${table} holds no address`)
    if (each.effect === 'kept' && each.holdsUserId) continue
    t.equal(await rowsWith(table, userId), 0, `${table} holds no user id`)
  }
})
