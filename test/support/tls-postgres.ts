/** A PostgreSQL for one test that accepts its roles by TLS only: with a password, or with a client certificate. */

import { randomBytes } from 'node:crypto'
import { chownSync, copyFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import type { Test } from 'tap'
import type { TestCa, TestCertificate } from '#common/testing/certificates.ts'
import { until } from '#common/testing/until.ts'
import { startOwnPostgres } from './own-engine.ts'

/** The host that the certificate of the server is for. */
export const postgresHost = 'localhost'

export async function startTlsPostgres(t: Pick<Test, 'teardown'>, ca: TestCa) {
  const { url, port, dataDirectory } = await startOwnPostgres(t)
  const admin = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(() => admin.end())
  const { uid, gid } = statSync(dataDirectory)
  /** Copies a file to where the server, which is another user than root, can read it. */
  function install(from: string, name: string): void {
    const to = join(dataDirectory, name)
    copyFileSync(from, to)
    chownSync(to, uid, gid)
  }
  function installCertificate({ cert, key }: TestCertificate): void {
    install(key, 'server.key')
    install(cert, 'server.crt')
  }
  /** Reads the files again. */
  async function reload(): Promise<void> {
    const [before] = await admin`select pg_conf_load_time() as at`
    await admin`select pg_reload_conf()`
    await until('PostgreSQL has read its files', async () => {
      const [now] = await admin`select pg_conf_load_time() as at`
      return now?.at > before?.at
    })
  }
  const issue = (by: TestCa) => by.issue('postgres', [`DNS:${postgresHost}`])

  installCertificate(issue(ca))
  install(ca.ca, 'root.crt')
  writeFileSync(
    join(dataDirectory, 'pg_hba.conf'),
    [
      'host    all auth      127.0.0.1/32 scram-sha-256',
      'hostssl all password  127.0.0.1/32 scram-sha-256',
      'hostssl all certified 127.0.0.1/32 cert',
      ''
    ].join('\n')
  )
  const password = randomBytes(24).toString('hex')
  await admin.unsafe(`create role password login password '${password}'`)
  await admin.unsafe('create role certified login')
  await admin.unsafe('create database secure owner certified')
  for (const [name, value] of Object.entries({ ssl: 'on', ssl_ca_file: 'root.crt' }))
    await admin.unsafe(`alter system set ${name} = '${value}'`)
  await reload()
  return {
    admin,
    password,
    /** The URL of a database for a role, by the name in the certificate. */
    urlOf: (user: 'password' | 'certified', parameters: Record<string, string>, host = postgresHost) =>
      `postgres://${user}${user === 'password' ? `:${password}` : ''}@${host}:${port}/secure?${new URLSearchParams(parameters)}`,
    /** Replaces the certificate of the server. */
    async replaceCertificate(by = ca): Promise<void> {
      installCertificate(issue(by))
      await reload()
    },
    /** Replaces the CAs of the clients. */
    async replaceTrust(file: string): Promise<void> {
      install(file, 'root.crt')
      await reload()
    }
  }
}
