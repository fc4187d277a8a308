/**
 * The commands of docs/operate/backup.md, with pg_dump and pg_restore, by TLS. With the programs of another version of PostgreSQL:
 * `POSTGRES_PROGRAMS=/usr/lib/postgresql/18/bin make test FILES="test/restore.test.ts"`.
 */

import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { createTestCa } from '#common/testing/certificates.ts'
import { createRoles } from '../stack/engines/postgres.ts'
import { runTool } from '../stack/tool.ts'
import { migrateDatabase } from '../user-svc/migrations.ts'
import { blocksOf } from './documents.ts'
import { compose, root } from './support/compose-file.ts'
import { postgresPrograms, startDebianPostgres } from './support/debian-postgres.ts'
import { temporaryFolder } from './support/log-stack.ts'

const programs = postgresPrograms() ?? ''
if (programs === '') {
  t.plan(0, 'PostgreSQL with its client programs is not installed')
  process.exit(0)
}

const page = readFileSync(join(root, 'docs/operate/backup.md'), 'utf8')
const [backup = '', restore = ''] = page.split(/^(?=## Restore)/m).map((part) =>
  blocksOf(part)
    .filter(({ info, text }) => info.startsWith('sh') && !text.includes('docker'))
    .map(({ text }) => text)
    .join('\n')
)
const composeBlocks = blocksOf(page).filter(({ text }) => text.includes('docker compose'))

type Server = Awaited<ReturnType<typeof startDebianPostgres>>
const ca = createTestCa(t)
const [source, target] = await Promise.all([startDebianPostgres(t, programs, ca), startDebianPostgres(t, programs, ca)])
const passwords = { owner: "o'wner", service: 'service' }
const folder = temporaryFolder(t)
symlinkSync(join(root, 'ops'), join(folder, 'ops'))

/** Runs commands of the page beside the dump. */
const run = (script: string, env: Record<string, string>) =>
  runTool('sh', ['-c', `set -eu\n${script}`], {
    cwd: folder,
    env: {
      PATH: [join(folder, 'bin'), programs, process.env.PATH].join(delimiter),
      OWNER_PASSWORD: passwords.owner,
      SERVICE_PASSWORD: passwords.service,
      ...env
    }
  })

function connect(t: Pick<Test, 'teardown'>, url: string) {
  const { searchParams } = new URL(url)
  const tls = { ca: readFileSync(searchParams.get('sslrootcert') as string) }
  const sql = postgres(url.replace(/\?.*/, ''), { max: 1, ssl: tls, onnotice: () => {} })
  t.teardown(() => sql.end())
  return sql
}

const asService = ({ urlOf }: Server, database: string) => urlOf(database, `auth_service:${passwords.service}`)

/** What a start of user-svc does. */
const migrate = (server: Server, database: string) =>
  migrateDatabase({
    url: asService(server, database),
    migrationUrl: server.urlOf(database, `auth_owner:${encodeURIComponent(passwords.owner)}`)
  })

/** The topics in a database: `backup` was stored before the dump, `later` after it. */
async function rowsOf(t: Pick<Test, 'teardown'>, url: string): Promise<string[]> {
  const sql = connect(t, url)
  const rows = await sql`select name from topics order by name`
  await sql.end()
  return rows.map(({ name }) => name)
}

/** Tables, owners and rights, without the name of the database. */
async function schemaOf({ urlOf }: Server, database: string): Promise<string> {
  const dump = await run('pg_dump --create --schema-only "$URL"', { URL: urlOf(database) })
  return dump.replaceAll(database, 'auth').replaceAll(/^\\(un)?restrict .*$/gm, '')
}

async function createProductDatabase(): Promise<void> {
  await run('createdb --maintenance-db="$URL" auth', { URL: source.urlOf('postgres') })
  await createRoles(source.urlOf('auth'), passwords, 'on')
  await migrate(source, 'auth')
  const sql = connect(t, source.urlOf('auth'))
  await sql`insert into topics (name) values ('backup')`
  await run(backup, { POSTGRES_ADMIN_URL: source.urlOf('auth') })
  await sql`insert into topics (name) values ('later')`
  // A database with connections cannot be renamed.
  await sql.end()
}

await createProductDatabase()
const schema = await schemaOf(source, 'auth')

t.test('a new server, which has neither the database nor the roles', async (t) => {
  await run(restore, { POSTGRES_ADMIN_URL: target.urlOf('postgres'), RESTORED_URL: target.urlOf('auth_restored') })
  await migrate(target, 'auth_restored')
  t.same(await rowsOf(t, asService(target, 'auth_restored')), ['backup'])
  t.equal(await schemaOf(target, 'auth_restored'), schema, 'owners and rights are those of the backup')
})

t.test('a new server, by an operator who is no superuser', async (t) => {
  const admin = connect(t, target.urlOf('postgres'))
  await admin`drop database auth_restored`
  await admin`drop role auth_owner, auth_service`
  await admin`create role operator login createdb createrole password 'operator'`
  const url = (database: string) => target.urlOf(database, 'operator:operator')
  await run(restore, { POSTGRES_ADMIN_URL: url('postgres'), RESTORED_URL: url('auth_restored') })
  await migrate(target, 'auth_restored')
  t.same(await rowsOf(t, asService(target, 'auth_restored')), ['backup'])
})

t.test('beside the database of a server, which does not change', async (t) => {
  await run(restore, { POSTGRES_ADMIN_URL: source.urlOf('auth'), RESTORED_URL: source.urlOf('auth_restored') })
  await migrate(source, 'auth_restored')
  t.same(await rowsOf(t, asService(source, 'auth_restored')), ['backup'])
  t.same(await rowsOf(t, asService(source, 'auth')), ['backup', 'later'])
  t.equal(await schemaOf(source, 'auth_restored'), schema)
  const again = { POSTGRES_ADMIN_URL: source.urlOf('auth'), RESTORED_URL: source.urlOf('auth') }
  await t.rejects(run(restore.replace(/^createdb .*$/m, 'true &&'), again), { message: /already exists/ })
  t.same(
    await rowsOf(t, asService(source, 'auth')),
    ['backup', 'later'],
    'a URL that names the old database changes nothing'
  )
})

t.test('the commands for Compose, in the container of PostgreSQL', async (t) => {
  mkdirSync(join(folder, 'bin'))
  // Runs a command of the container of PostgreSQL at its socket, and records the others.
  const docker = `#!/bin/sh
    case "$*" in
      'compose exec '*' postgres '* | 'compose exec postgres '*)
        while [ "$1" != postgres ]; do shift; done; shift; exec "$@" ;;
      *) echo "$*" >>docker.log ;;
    esac`
  writeFileSync(join(folder, 'bin', 'docker'), docker, { mode: 0o755 })
  const { POSTGRES_DB, POSTGRES_USER } = compose.services.postgres?.environment ?? {}
  t.same([POSTGRES_DB, POSTGRES_USER], ['auth', 'auth'], 'the names in the commands')
  await run('dropdb --maintenance-db="$URL" auth_restored', { URL: source.urlOf('postgres') })
  const atSocket = { PGHOST: source.socket, PGPORT: String(source.port) }
  const scripts = composeBlocks.map(({ text }) => text).filter((text) => !text.includes('pg_dump'))
  await run(scripts.join('\n'), atSocket)
  // The job postgres-roles, and then the job migrate.
  await createRoles(source.urlOf('auth'), passwords, 'on')
  await migrate(source, 'auth')
  t.same(await rowsOf(t, asService(source, 'auth')), ['backup'])
  t.equal(await schemaOf(source, 'auth'), schema)
  t.same(await rowsOf(t, source.urlOf('auth_before_restore')), ['backup', 'later'])
  t.match(readFileSync(join(folder, 'docker.log'), 'utf8').trim().split('\n'), [
    /^compose stop gateway user-svc$/,
    /^compose up --detach --wait postgres redis$/,
    /^compose exec redis redis-cli --user admin FLUSHDB$/,
    /^compose up --detach --wait$/
  ])
})
