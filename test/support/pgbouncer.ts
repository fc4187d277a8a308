/** A PgBouncer in transaction mode in front of the PostgreSQL of the tests, by way of a proxy that takes PostgreSQL away. */

import { spawn } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { temporaryFolder } from './log-stack.ts'
import { startTcpProxy } from './tcp-proxy.ts'

/** Starts to pool connections to the database of `direct`; ends with the test. */
export async function startPgbouncer(t: Pick<Test, 'teardown'>, direct: string, settings: Record<string, string> = {}) {
  const { username, password, hostname, port, pathname } = new URL(direct)
  const server = await startTcpProxy(0, { host: hostname, port: Number(port) })
  const folder = temporaryFolder(t)
  const ini = join(folder, 'pgbouncer.ini')
  const listenPort = await freePort()
  const all = {
    listen_addr: '127.0.0.1',
    listen_port: String(listenPort),
    unix_socket_dir: '',
    auth_type: 'plain',
    auth_file: join(folder, 'users.txt'),
    pool_mode: 'transaction',
    default_pool_size: '20',
    ...settings
  }
  const lines = Object.entries(all).map(([key, value]) => `${key} = ${value}`)
  writeFileSync(join(folder, 'users.txt'), `"${username}" "${decodeURIComponent(password)}"\n`)
  writeFileSync(ini, `[databases]\n* = host=127.0.0.1 port=${server.port}\n[pgbouncer]\n${lines.join('\n')}\n`)
  // PgBouncer refuses to run as root.
  chmodSync(folder, 0o755)
  const args = process.getuid?.() === 0 ? ['-u', 'nobody', ini] : [ini]
  const child = spawn('pgbouncer', args, { stdio: 'ignore' })
  t.teardown(async () => {
    child.kill('SIGKILL')
    await server.close()
  })
  const url = new URL(direct)
  Object.assign(url, { hostname: '127.0.0.1', port: String(listenPort), pathname })
  return { url: url.href, server }
}
