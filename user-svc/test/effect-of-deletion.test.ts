/** The effect of an account's deletion on each table, as schema.ts declares it, in the catalogue of a migrated database. */

import { getTableColumns, getTableName, is } from 'drizzle-orm'
import { PgTable } from 'drizzle-orm/pg-core'
import t from 'tap'
import * as schema from '../schema.ts'
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
  const remedy = 'declare the effect in user-svc/schema.ts'
  t.same(await tablesOfCatalogue(), Object.keys(effectOfDeletion).toSorted(), remedy)
})

t.test('the migrations create every table and column of the schema', async (t) => {
  const columns = await sql`select table_name || '.' || column_name as name from information_schema.columns`
  const migrated = new Set(columns.map(({ name }) => name))
  const declared = Object.values(schema)
    .filter((each) => is(each, PgTable))
    .flatMap((table) => Object.values(getTableColumns(table)).map(({ name }) => `${getTableName(table)}.${name}`))
  t.ok(declared.length > 0)
  const remedy = '`npx drizzle-kit generate --name <what>` writes the migration'
  t.same(
    declared.filter((name) => !migrated.has(name)),
    [],
    remedy
  )
})

t.test('a table with a column for a user id declares that it holds one', async (t) => {
  const holders = await sql`
    select distinct table_name as name from information_schema.columns where column_name like '%user_id%' and table_schema = 'public'`
  t.ok(holders.length > 0)
  for (const { name } of holders) {
    const each = effectOfDeletion[name]
    t.ok(
      each?.effect === 'erased' || each?.holdsUserId,
      `${name} has a column for a user id: it is erased, or holdsUserId is true`
    )
  }
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
