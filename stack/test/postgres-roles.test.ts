/** The roles of user-svc in a database that an earlier version migrated as its superuser. */

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import postgres from 'postgres'
import t from 'tap'
import { createTestDatabase, engineAddress } from '#common/testing/service.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { until } from '#common/testing/until.ts'
import { migrateDatabase } from '../../user-svc/migrations.ts'
import { createRoles } from '../engines/postgres.ts'
import { migrateAsOwner } from '../migration.ts'

const passwords = { owner: "o'wner", service: 'service' }

t.test('existing tables belong to the owner, and the service reads and writes their rows', async (t) => {
  const admin = await createTestDatabase(t)
  await migrateDatabase({ url: admin })
  const earlier = postgres(admin, { max: 1, onnotice: () => {} })
  t.teardown(() => earlier.end())
  await earlier`insert into topics (name) values ('logs')`

  const urlOf = (user: string, password: string) => Object.assign(new URL(admin), { username: user, password }).href
  const urls = { url: urlOf('auth_service', passwords.service), migrationUrl: urlOf('auth_owner', passwords.owner) }
  for (const round of ['first', 'second']) {
    await createRoles(admin, passwords)
    await migrateDatabase(urls)
    const others = await earlier`select tablename from pg_tables
      where schemaname in ('public', 'drizzle') and tableowner <> 'auth_owner'`
    t.same(others, [], `${round} start`)
  }
  await earlier`grant create on schema public to public`
  await createRoles(admin, passwords)
  const publicRights = await earlier`select has_schema_privilege('public', 'public', 'create') as create,
    has_function_privilege('public', 'lo_create(oid)', 'execute') as large_objects`
  t.same(publicRights, [{ create: false, large_objects: false }])

  const service = postgres(urls.url, { max: 1, onnotice: () => {} })
  t.teardown(() => service.end())
  t.same(await service`select name from topics`, [{ name: 'logs' }], 'the rows are kept')
  await service`update topics set name = 'other'`
  await service`insert into outbox (type, user_id) values ('user.created', ${crypto.randomUUID()})`
  await service`delete from outbox`

  const owner = postgres(urls.migrationUrl, { max: 1, onnotice: () => {} })
  t.teardown(() => owner.end())
  await owner`alter table users add column later int`
  t.same(await earlier`select count(*)::int as n from topics`, [{ n: 1 }], 'the earlier version still works')
})

t.test('an operator with CREATEROLE, who is no superuser, hands existing tables over', async (t) => {
  const superuser = postgres(engineAddress('TEST_POSTGRES_URL'), { max: 1, onnotice: () => {} })
  // Roles belong to the whole server, which other tests share.
  const prefix = `test${randomBytes(6).toString('hex')}`
  const [operator, other] = [`${prefix}_operator`, `${prefix}_other`]
  const [owner, service] = [`${prefix}_owner`, `${prefix}_service`]
  // After the database, which belongs to the operator.
  t.teardown(async () => {
    for (const role of [owner, service, operator, other]) await superuser`drop role if exists ${superuser(role)}`
    await superuser.end()
  })
  const admin = await createTestDatabase(t)
  await superuser`create role ${superuser(operator)} login createdb createrole password 'operator'`
  await superuser`alter database ${superuser(new URL(admin).pathname.slice(1))} owner to ${superuser(operator)}`
  const url = Object.assign(new URL(admin), { username: operator, password: 'operator' }).href
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  const [server] = await sql`select current_setting('server_version_num')::int as version, rolsuper
    from pg_roles where rolname = current_user`
  t.ok(server?.version >= 160_000, 'the creator of a role cannot act as it')
  t.equal(server?.rolsuper, false)
  await sql`create schema drizzle`
  await sql`create table drizzle.migrations (id int)`
  await sql`create table users (id int)`
  const roles = readFileSync('ops/postgres/roles.sql', 'utf8').replaceAll('auth_', `${prefix}_`)
  for (const round of ['first', 'second']) {
    await sql`select set_config(${`${prefix}.owner_password`}, 'owner', false),
      set_config(${`${prefix}.service_password`}, 'service', false)`
    await sql.unsafe(roles)
    const owners = await sql`select tablename, tableowner from pg_tables
      where schemaname in ('public', 'drizzle') order by tablename`
    const expected = ['migrations', 'users'].map((tablename) => ({ tablename, tableowner: owner }))
    t.same([...owners], expected, `${round} run`)
  }

  await superuser`create role ${superuser(other)} login createrole password 'operator'`
  await superuser`grant connect on database ${superuser(new URL(admin).pathname.slice(1))} to ${superuser(other)}`
  const second = postgres(Object.assign(new URL(url), { username: other }).href, { max: 1, onnotice: () => {} })
  t.teardown(() => second.end())
  await second`select set_config(${`${prefix}.owner_password`}, 'hunter2', false)`
  const error: Error & { where?: string } = await second.unsafe(roles).then(
    () => {
      throw new Error('a role changed the password of a role that it did not create')
    },
    (refused) => refused
  )
  t.match(error, { message: `cannot set the password of ${owner}: permission denied to alter role`, code: '42501' })
  t.notMatch(`${error.message} ${error.where}`, /hunter2/, 'no error shows a password')
})

t.test('make run migrates as the owner, also in a configured database', async (t) => {
  const admin = await createTestDatabase(t)
  await createRoles(admin, passwords)
  const urlOf = (user: string, password: string) => Object.assign(new URL(admin), { username: user, password }).href
  const [url, owner] = [urlOf('auth_service', passwords.service), urlOf('auth_owner', passwords.owner)]
  const printed: string[] = []
  const { signal } = new AbortController()
  const clock = createTestClock()
  const migrate = (configured: { url: string; migrationUrl: string; migrate: boolean }, started = '') => {
    const config = { userSvc: { postgres: configured } } as Parameters<typeof migrateAsOwner>[0]
    const engines = { postgres: { admin: '', owner: started, service: url } }
    return migrateAsOwner(config, engines, (line) => printed.push(line), signal, clock)
  }
  const sql = postgres(admin, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  const owners = async () =>
    (await sql`select distinct tableowner as name from pg_tables where schemaname = 'public'`).map(({ name }) => name)

  t.equal(await migrate({ url, migrationUrl: '', migrate: true }), false, 'user-svc migrates as its only role')
  t.equal(await migrate({ url, migrationUrl: owner, migrate: false }), false, 'a job migrates')
  t.same(await owners(), [])
  const refused = migrate({ url, migrationUrl: url, migrate: true })
  const message = 'userSvc.postgres.migrationUrl: the migration of the database failed: missing right, 42501'
  await t.rejects(refused, { name: 'StartError', message })
  const lock = postgres(admin, { max: 1, onnotice: () => {} })
  t.teardown(() => lock.end())
  await lock`select pg_advisory_lock(7311902)`
  const migrated = migrate({ url, migrationUrl: owner, migrate: true })
  const untilPrinted = (text: RegExp) => until(String(text), () => text.test(printed.at(-1) ?? ''))
  await Promise.race([migrated, untilPrinted(/^the migration waits for a lock, held by pid/)])
  await clock.advance(15_000)
  await lock`select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'user-svc migrations' and datname = current_database()`
  await Promise.race([
    migrated,
    untilPrinted(/^userSvc\.postgres\.migrationUrl: the migration .* failed: .+, retrying$/)
  ])
  await lock`select pg_advisory_unlock(7311902)`
  await clock.advance(250)
  t.equal(await migrated, true, 'a lost connection after more than ten seconds is retried')
  t.same(await owners(), ['auth_owner'])
  t.equal(printed.splice(0).length, 2)
  t.equal(await migrate({ url: '', migrationUrl: '', migrate: true }, owner), true, 'the database of make run')
  t.same(printed, [])
})
