/** PostgreSQL: a cluster with the database `auth` and the roles of user-svc, as a process or in Docker. */

import '#common/process/no-native-driver.ts'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { postgresAddress } from '../../user-svc/postgres-url.ts'
import { keptSecret } from '../secret-file.ts'
import type { Program } from '../supervised.ts'
import { waitUntil } from '../wait.ts'
import { containerProgram, openToContainer } from './docker.ts'
import { type EngineOptions, engineGraceMs, engineStartMs } from './engine.ts'
import { createCluster, findRuntime } from './postgres-runtime.ts'

export const postgresImage = 'postgres:18.6-bookworm'

/** The URLs of one database: as superuser, as the role that owns the tables, and as the role of user-svc. */
export interface PostgresUrls {
  admin: string
  owner: string
  service: string
}

interface PostgresOptions extends EngineOptions {
  /** The folder of the passwords, which the first start generates. */
  secretsDirectory: string
  /** Additional settings, such as `{ fsync: 'off' }` for disposable data. */
  settings?: Record<string, string>
}

const rolesFile = join(import.meta.dirname, '..', '..', 'ops', 'postgres', 'roles.sql')

/** Starts PostgreSQL and, when it answers, resolves to the URLs of its database. */
export async function startPostgres(options: PostgresOptions): Promise<PostgresUrls> {
  const { supervisor, port, secretsDirectory, signal } = options
  const secret = (name: string) => keptSecret(join(secretsDirectory, name))
  const passwords = {
    admin: secret('postgres-password'),
    owner: secret('postgres-owner-password'),
    service: secret('postgres-service-password')
  }
  const url = (user: string, password: string, database = 'auth') =>
    `postgres://${user}:${password}@127.0.0.1:${port}/${database}`
  supervisor.start(options.docker ? contained(options, passwords.admin) : await native(options, passwords.admin))
  const admin = url('auth', passwords.admin)
  await waitUntil(() => createDatabase(url('auth', passwords.admin, 'postgres')), engineStartMs, signal)
  await waitUntil(() => createRoles(admin, passwords, 'on'), engineStartMs, signal)
  return {
    admin,
    owner: url('auth_owner', passwords.owner),
    service: url('auth_service', passwords.service)
  }
}

/**
 * Creates or updates the roles of user-svc. It also converts the data of an earlier version, whose superuser owns the tables.
 *
 * @param ownServer whether the server has no other database: the roles may then connect to no other one
 */
export function createRoles(
  admin: string,
  passwords: { owner: string; service: string },
  ownServer: 'on' | 'off' = 'off'
): Promise<void> {
  const statement = readFileSync(rolesFile, 'utf8')
  return withConnection(admin, async (client) => {
    const names = ['owner_password', 'service_password', 'own_server']
    const settings = names.map((name, index) => `set_config('auth.${name}', $${index + 1}, false)`)
    await client.query(`select ${settings}`, [passwords.owner, passwords.service, ownServer])
    await client.query(statement)
  })
}

/** Resolves if PostgreSQL accepts the user and password of a URL, and rejects otherwise. */
export function pingPostgres(url: string): Promise<void> {
  return withConnection(url, async (client) => void (await client.query('select 1')))
}

function createDatabase(url: string): Promise<void> {
  return withConnection(url, async (client) => {
    const { rowCount } = await client.query("select 1 from pg_database where datname = 'auth'")
    if (rowCount === 0) await client.query('create database auth')
  })
}

/** Connects with the driver and options of user-svc, so that a successful ping means that user-svc can connect. */
async function withConnection(url: string, use: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ ...postgresAddress(url), connectionTimeoutMillis: 2000, query_timeout: 2000 })
  client.on('error', () => {})
  try {
    await client.connect()
    await use(client)
  } finally {
    void client.end().catch(() => {})
  }
}

async function native(options: PostgresOptions, password: string): Promise<Program> {
  const { directory, port, settings = {}, signal } = options
  const runtime = await findRuntime(directory)
  await createCluster(runtime, directory, password, signal)
  const all = { listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: '', ...settings }
  const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  return {
    name: 'postgres',
    // Fast shutdown: ends open connections.
    stopSignal: 'SIGINT',
    graceMs: engineGraceMs,
    command: () => runtime.command('postgres', directory, flags)
  }
}

function contained({ docker, directory, port, settings = {} }: PostgresOptions, password: string): Program {
  mkdirSync(directory, { recursive: true })
  // The entrypoint creates a folder here as root and changes to another user, which must be able to enter it.
  openToContainer(directory, 0o711)
  return containerProgram(docker as NonNullable<typeof docker>, {
    name: 'postgres',
    image: postgresImage,
    port,
    containerPort: 5432,
    directory,
    containerDirectory: '/var/lib/postgresql',
    env: { POSTGRES_USER: 'auth', POSTGRES_DB: 'auth', POSTGRES_PASSWORD: password },
    args: ['postgres', ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    stopSignal: 'SIGINT'
  })
}
