/** A PostgreSQL server with its client programs: `make run` has no pg_dump, and a dump needs one of the server's version. */

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, copyFileSync, existsSync, globSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { TestCa } from '#common/testing/certificates.ts'
import { freePort } from '#common/testing/ports.ts'
import { until } from '#common/testing/until.ts'
import { pingPostgres } from '../../stack/engines/postgres.ts'
import { isRoot, systemUser } from '../../stack/system-user.ts'
import { runTool } from '../../stack/tool.ts'
import { temporaryFolder } from './log-stack.ts'

/** The folder of the programs: Debian's newest, or POSTGRES_PROGRAMS. Undefined if one is missing. */
export function postgresPrograms(): string | undefined {
  const version = (folder: string) => Number(/\d+/.exec(folder))
  const installed = globSync('/usr/lib/postgresql/*/bin').toSorted((a, b) => version(b) - version(a))
  const folders = process.env.POSTGRES_PROGRAMS ? [process.env.POSTGRES_PROGRAMS] : installed
  const needed = ['initdb', 'postgres', 'createdb', 'pg_dump', 'pg_restore', 'psql']
  return folders.find((folder) => needed.every((name) => existsSync(join(folder, name))))
}

/** Starts a new server with the superuser `auth`. It accepts passwords by TLS only, and every user of its socket. */
export async function startDebianPostgres(t: Pick<Test, 'teardown'>, programs: string, ca: TestCa) {
  const folder = temporaryFolder(t)
  const data = join(folder, 'data')
  const password = randomBytes(24).toString('hex')
  const owner = isRoot() ? await systemUser('postgres') : undefined
  const give = (path: string) => owner && chownSync(path, owner.uid, owner.gid)
  chmodSync(folder, 0o755)
  mkdirSync(data, { mode: 0o700 })
  writeFileSync(join(folder, 'password'), password, { mode: 0o600 })
  for (const path of [data, join(folder, 'password')]) give(path)
  const options = { cwd: data, env: { PATH: process.env.PATH, LC_ALL: 'C' }, ...owner }
  const cluster = ['--username=auth', '--pwfile=../password', '--encoding=UTF8', '--locale=C', '--no-sync', '-D', data]
  await runTool(join(programs, 'initdb'), cluster, options)
  const { cert, key } = ca.issue('postgres')
  for (const [from, name] of [
    [cert, 'server.crt'],
    [key, 'server.key']
  ] as const) {
    copyFileSync(from, join(data, name))
    chmodSync(join(data, name), 0o600)
    give(join(data, name))
  }
  writeFileSync(join(data, 'pg_hba.conf'), 'local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n')
  const port = await freePort()
  const settings = { port, listen_addresses: '127.0.0.1', unix_socket_directories: data, ssl: 'on', fsync: 'off' }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const server = spawn(join(programs, 'postgres'), ['-D', data, ...flags], { ...options, stdio: 'ignore' })
  const ended = new Promise((done) => server.once('exit', done))
  t.teardown(async () => {
    server.kill('SIGINT')
    await ended
  })
  /** The URL of a database, as production requires it. */
  const urlOf = (database: string, login = `auth:${password}`) =>
    `postgres://${login}@localhost:${port}/${database}?sslmode=verify-full&sslrootcert=${ca.ca}`
  await until('PostgreSQL answers', () =>
    pingPostgres(urlOf('postgres')).then(
      () => true,
      () => false
    )
  )
  return { urlOf, socket: data, port }
}
