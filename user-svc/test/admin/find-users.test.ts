/** GetUser and FindUsers over gRPC on the real PostgreSQL. */

import { Code } from '@connectrpc/connect'
import t from 'tap'
import { selectPage } from '../../admin/find-users.ts'
import { connectDatabase } from '../../database.ts'
import { fieldsOf, password, reasonOf, rejection, startAccountTests } from '../accounts/account-tests.ts'

const { admin, client, sql, url } = await startAccountTests(t)

t.test('returns an account by its id and by its address in any spelling', async (t) => {
  const { user: registered } = await client.registerAndLogin({ email: 'Ada@Example.org', password })
  const userId = registered?.id as string
  for (const key of [
    { case: 'userId', value: userId },
    { case: 'email', value: 'ADA@example.ORG' }
  ] as const) {
    const { user } = await admin.getUser({ key })
    t.match(user, { id: userId, email: 'ada@example.org', passwordScheme: 'bcrypt' })
    t.same(user?.createdAt, registered?.createdAt)
    t.equal(user?.emailVerifiedAt, undefined)
    t.equal(user?.disabledAt, undefined)
  }
  await sql`update users set email_verified_at = '2026-01-02', disabled_at = '2026-01-03', password_hash = 'none'`
  const { user } = await admin.getUser({ key: { case: 'userId', value: userId } })
  t.match(user, {
    passwordScheme: 'none',
    emailVerifiedAt: { seconds: 1767312000n },
    disabledAt: { seconds: 1767398400n }
  })
})

t.test('rejects a missing account and a malformed key', async (t) => {
  const unknown = [
    { case: 'userId', value: '0197a000-0000-7000-8000-000000000000' },
    { case: 'email', value: 'none@example.org' }
  ] as const
  for (const key of unknown) t.equal(reasonOf(await rejection(admin.getUser({ key }))), 'ACCOUNT_NOT_FOUND')
  for (const [key, field] of [
    [undefined, 'user_id'],
    [{ case: 'userId', value: 'x' }, 'user_id'],
    [{ case: 'userId', value: '' }, 'user_id'],
    [{ case: 'email', value: 'x' }, 'email'],
    [{ case: 'email', value: '' }, 'email']
  ] as const) {
    const error = await rejection(admin.getUser(key ? { key } : {}))
    t.equal(error.code, Code.InvalidArgument)
    t.same(fieldsOf(error), [field])
  }
})

async function insert(...addresses: string[]) {
  for (const address of addresses) {
    await sql`insert into users (id, email, password_hash, session_epoch)
      values (gen_random_uuid(), ${address}, 'none', 0)`
  }
}

/** The addresses of all pages, page by page. */
async function pages(emailPrefix: string, pageSize: number): Promise<string[][]> {
  const found: string[][] = []
  let pageToken = ''
  do {
    const { users, nextPageToken } = await admin.findUsers({ emailPrefix, pageSize, pageToken })
    found.push(users.map(({ email }) => email))
    pageToken = nextPageToken
  } while (pageToken !== '')
  return found
}

t.test('pages through a prefix in the order of the bytes, whatever wildcards it contains', async (t) => {
  await sql`delete from users`
  const ordered = [
    'a%b@x.org',
    'a+b@x.org',
    'a-b@x.org',
    'a.b@x.org',
    'a_b@x.org',
    'ab@x.org',
    'ab@x.org.uk',
    'a~b@x.org'
  ]
  await insert(...ordered.toReversed(), 'b@x.org')
  t.same(await pages('a', 3), [ordered.slice(0, 3), ordered.slice(3, 6), ordered.slice(6)])
  t.same(await pages('A', 8), [ordered], 'a page that is exactly full is the last one')
  t.same(await pages('', 100), [[...ordered, 'b@x.org']])
  t.same(await pages('a%', 0), [['a%b@x.org']])
  t.same(await pages('a_', 0), [['a_b@x.org']])
  t.same(await pages('a\\', 0), [[]])
  t.same(await pages('ab@x.org', 0), [['ab@x.org', 'ab@x.org.uk']])
  t.same(await pages('c', 0), [[]])
})

t.test('an account that is deleted between two pages hides no other', async (t) => {
  await sql`delete from users`
  await insert('a@x.org', 'b@x.org', 'c@x.org')
  const { nextPageToken } = await admin.findUsers({ pageSize: 1 })
  await sql`delete from users where email = 'a@x.org'`
  const { users } = await admin.findUsers({ pageSize: 1, pageToken: nextPageToken })
  t.match(users, [{ email: 'b@x.org' }])
})

t.test('50 accounts are on a page without a size', async (t) => {
  await sql`delete from users`
  await sql`insert into users (id, email, password_hash, session_epoch)
    select gen_random_uuid(), 'user' || i || '@x.org', 'none', 0 from generate_series(1, 120) i`
  t.same(
    (await pages('user', 0)).map(({ length }) => length),
    [50, 50, 20]
  )
})

t.test('rejects malformed prefixes, sizes and tokens', async (t) => {
  const token = (text: string) => Buffer.from(text).toString('base64url')
  for (const [request, field] of [
    [{ emailPrefix: 'a b' }, 'email_prefix'],
    [{ emailPrefix: 'ä' }, 'email_prefix'],
    [{ emailPrefix: 'a\0' }, 'email_prefix'],
    [{ emailPrefix: 'a'.repeat(255) }, 'email_prefix'],
    [{ pageSize: -1 }, 'page_size'],
    [{ pageSize: 101 }, 'page_size'],
    [{ pageToken: 'x' }, 'page_token'],
    [{ pageToken: token('x') }, 'page_token'],
    [{ pageToken: token('A@x.org') }, 'page_token'],
    [{ pageToken: `${token('a@x.org')}=` }, 'page_token'],
    [{ emailPrefix: 'b', pageToken: token('a@x.org') }, 'page_token'],
    [{ pageToken: token("a@x.org' or true") }, 'page_token']
  ] as const) {
    const error = await rejection(admin.findUsers(request))
    t.equal(error.code, Code.InvalidArgument)
    t.same(fieldsOf(error), [field], JSON.stringify(request))
  }
})

t.test('a page reads its own entries of the index only, in a database of any collation', async (t) => {
  await sql`delete from users`
  await sql`insert into users (id, email, password_hash, session_epoch)
    select gen_random_uuid(), 'user' || i || '@x.org', 'none', 0 from generate_series(1, 20000) i`
  await sql`analyze users`
  const database = connectDatabase({ url, maxConnections: 1, queryTimeout: 3000 })
  t.teardown(database.close)
  for (const [prefix, after] of [
    ['', ''],
    ['user1', ''],
    ['user1', 'user15@x.org'],
    ['', 'user9@x.org']
  ] as const) {
    const { sql: text, params } = selectPage(database.db, prefix, after, 51).toSQL()
    const rows = await sql.unsafe(`explain (analyze, costs off, timing off, summary off) ${text}`, params as string[])
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
    t.match(plan, /Index Scan using users_email_prefix_idx/, prefix)
    t.notMatch(plan, /Sort|Seq Scan/, prefix)
    t.notMatch(plan, /Rows Removed by Filter/, prefix)
  }
})
