/** The load balancer of compose.two.yaml before one server, by the HAProxy of the machine. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { until } from '#common/testing/until.ts'
import { interpolate, read, root, two } from './compose-file.ts'

const [, installed] = /^HAProxy version (\d+\.\d+\.\d+)/.exec(String(spawnSync('haproxy', ['-v']).stdout)) ?? []
/** Whether HAProxy is installed. */
export const hasHaproxy = installed !== undefined
/** Whether the version of the installed HAProxy is this one or newer. */
export const balancerIsAtLeast = (version: string) =>
  installed !== undefined && installed.localeCompare(version, 'en', { numeric: true }) >= 0

const folderInContainer = '/usr/local/etc/haproxy'

/** @throws Error if the text lacks the part */
function replaced(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new Error(`the settings of the balancer lack "${from}"`)
  return text.replaceAll(from, to)
}

/**
 * Starts the balancer by its command, with `server` as both gateways and their ops port. Stops it when the test ends.
 *
 * @param variables those of `.env`
 */
export async function startBalancer(
  t: Pick<Test, 'teardown'>,
  server: number,
  variables: Record<string, string> = {}
): Promise<number> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'haproxy-'))
  let settings = replaced(read('ops/haproxy.cfg'), 'bind :8080', `bind 127.0.0.1:${port}`)
  settings = replaced(settings, `${folderInContainer}/errors`, join(root, 'ops/haproxy-errors'))
  settings = replaced(settings, 'check port 9464', `check port ${server}`)
  for (const name of ['gateway', 'gateway-2']) settings = replaced(settings, `${name}:8080`, `127.0.0.1:${server}`)
  writeFileSync(join(folder, 'haproxy.cfg'), settings)
  const { command: [program = '', ...words] = [], environment = {} } = two.services.balancer ?? {}
  const args = words.map((word) => word.replaceAll('$$', '$').replaceAll(folderInContainer, folder))
  const ofContainer = Object.entries(environment).map(([name, value]) => [name, interpolate(value, variables)])
  const child = spawn(program, args, {
    cwd: root,
    env: { PATH: process.env.PATH, ...Object.fromEntries(ofContainer) },
    stdio: ['ignore', 'ignore', 'pipe']
  })
  let output = ''
  child.stderr.on('data', (chunk) => {
    output += chunk
  })
  t.teardown(async () => {
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    if (child.exitCode === null && child.signalCode === null) await exited
    rmSync(folder, { recursive: true, force: true })
  })
  await until('the balancer has a server', async () => {
    if (child.exitCode !== null) throw new Error(`HAProxy did not start: ${output}`)
    const response = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)
    return response?.status === 200
  })
  return port
}
