/** Privileges under `make run`: each process has the secrets and the rights that it needs, and no others. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import t from 'tap'
import { descendants, startStack, temporaryDataDir } from './support/stack-run.ts'

t.setTimeout(300_000)
const dataDir = temporaryDataDir(t)
const pepper = `a:${Buffer.alloc(32, 'pepper').toString('base64')}`
const stack = startStack(t, dataDir, {
  USER_SVC_PASSWORD_PEPPERS: pepper,
  RPC_PREVIOUS_ADMIN_TOKEN: 'previous-admin-token',
  RPC_PREVIOUS_TOKEN: 'previous-token',
  OTHER_PROGRAM_SECRET: 'secret-of-the-caller'
})
await stack.printed(/^ready$/)

const fileContent = (name: string) => readFileSync(join(dataDir, name), 'utf8').trim()

/** The environment of a process, as the system shows it. */
function environmentOf(command: string): Record<string, string> {
  const [pid] = descendants(stack.pid).find(([, line]) => line.includes(command)) ?? []
  const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  return Object.fromEntries(
    variables.map((variable) => [variable.split('=', 1)[0], variable.slice(variable.indexOf('=') + 1)])
  )
}

t.test('the environment of a process has only the secrets that it uses', async (t) => {
  const secrets: Record<string, string> = {
    'superuser of PostgreSQL': fileContent('postgres-password'),
    'owner of the tables': fileContent('postgres-owner-password'),
    'PostgreSQL password': fileContent('postgres-service-password'),
    'Redis password': fileContent('redis-password'),
    'rpc token': fileContent('rpc-token'),
    'gateway token': fileContent('gateway-token'),
    'user-svc token': fileContent('user-svc-token'),
    'validation token': fileContent('validation-token'),
    'admin token': fileContent('admin-token'),
    'mail key': Buffer.from(fileContent('mail-key'), 'base64url').toString('base64'),
    pepper,
    'previous token': 'previous-token',
    'previous admin token': 'previous-admin-token',
    'secret of the caller': 'secret-of-the-caller'
  }
  const secretsIn = (command: string) => {
    const values = Object.values(environmentOf(command))
    return Object.keys(secrets).filter((name) => values.some((value) => value.includes(secrets[name] as string)))
  }
  t.same(secretsIn('gateway/server.ts'), ['Redis password', 'gateway token'])
  t.same(secretsIn('session-svc/server.ts'), [
    'Redis password',
    'rpc token',
    'gateway token',
    'user-svc token',
    'validation token',
    'previous token'
  ])
  const ofUserSvc = [
    'owner of the tables',
    'PostgreSQL password',
    'rpc token',
    'gateway token',
    'user-svc token',
    'admin token',
    'mail key',
    'pepper'
  ]
  t.same(secretsIn('user-svc/server.ts'), [...ofUserSvc, 'previous token', 'previous admin token'])
  t.same(secretsIn('log-sink/server.ts'), [])
  for (const engine of ['postgres -D', 'redis-server', 'kafka.Kafka']) t.same(secretsIn(engine), [], engine)
})

t.test('the role of user-svc reads and writes the rows of its tables, and nothing else', async (t) => {
  const { USER_SVC_POSTGRES_URL, USER_SVC_POSTGRES_MIGRATION_URL } = environmentOf('user-svc/server.ts')
  const service = postgres(USER_SVC_POSTGRES_URL as string, { max: 1, onnotice: () => {} })
  t.teardown(() => service.end())
  t.match(await service`select current_user as name, (select count(*)::int from users) as n`, [
    { name: 'auth_service', n: 0 }
  ])
  const roles = await service`select rolname, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls from pg_roles
    where rolname ~ '^auth_' order by 1`
  const none = { rolsuper: false, rolcreaterole: false, rolcreatedb: false, rolbypassrls: false }
  t.same(roles, [
    { rolname: 'auth_owner', ...none },
    { rolname: 'auth_service', ...none }
  ])
  const refused = [
    "copy users from program 'id'",
    "select pg_read_file('/etc/passwd')",
    'create table mine (id int)',
    'create temporary table mine (id int)',
    'create schema mine',
    'alter table users add column mine int',
    'drop table outbox',
    'truncate users',
    'create index mine on users (email)',
    'delete from drizzle.__drizzle_migrations',
    'set role auth_owner',
    'set role auth'
  ]
  for (const statement of refused)
    await t.rejects(service.unsafe(statement), /permission denied|must be owner/, statement)

  const owner = postgres(USER_SVC_POSTGRES_MIGRATION_URL as string, { max: 1, onnotice: () => {} })
  t.teardown(() => owner.end())
  t.match(await owner`select distinct tableowner from pg_tables where schemaname in ('public', 'drizzle')`, [
    { tableowner: 'auth_owner' }
  ])
  await t.rejects(owner.unsafe("copy users from program 'id'"), /permission denied/)
  const connected = await owner`select distinct usename from pg_stat_activity
    where application_name like 'user-svc%' and datname = 'auth'`
  t.same(connected, [{ usename: 'auth_service' }], 'the connection of the migration has ended')
})
