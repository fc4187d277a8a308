/** Log-ins without pause from a process of its own: by wrk, or by storm-client.ts where wrk cannot be had. */

import { join } from 'node:path'
import { runTool } from '../stack/tool.ts'
import { graceMs, hasWrk } from './load.ts'
import { nextNetwork, storm } from './storm.ts'
import type { StormOptions } from './storm-client.ts'

/** Each log-in is of one of so many accounts of a group, at random, and from an address of its own. */
export type LogInLoad = Required<Pick<StormOptions, 'url' | 'clients' | 'seconds' | 'group' | 'accounts' | 'password'>>

/** Resolves to when each was answered (ms since the epoch), and with which status. */
export async function loadLogIns(what: LogInLoad): Promise<(readonly [at: number, status: number, ...unknown[]])[]> {
  if (!(await hasWrk())) return storm({ ...what, addresses: 'many', patient: true })
  const { url, clients, seconds, group, accounts, password } = what
  const script = ['-s', join(import.meta.dirname, 'wrk-logins.lua')]
  const load = ['-t1', `-c${clients}`, `-d${seconds}s`, '--timeout', '10s']
  const args = [...load, ...script, url, '--', group, `${accounts}`, password, `${nextNetwork()}`]
  const output = await runTool('wrk', args, { timeoutMs: seconds * 1000 + graceMs })
  return JSON.parse(output.split('\n').findLast((line) => line.startsWith('[')) ?? '[]')
}
