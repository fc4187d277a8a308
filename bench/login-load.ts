/** Log-ins again and again from a process of its own: by wrk, or by storm-client.ts where wrk cannot be had. */

import { type Answered, nextNetwork, storm } from './storm.ts'
import type { StormOptions } from './storm-client.ts'
import { hasWrk, readOutcome, runWrk } from './wrk.ts'

/** Each log-in is of one of so many accounts of a group, at random, and from an address of its own. */
export type LogInLoad = Required<Pick<StormOptions, 'url' | 'clients' | 'seconds' | 'group' | 'accounts' | 'password'>>

/** Resolves to every answer that there was. */
export async function loadLogIns(what: LogInLoad): Promise<readonly Answered[]> {
  if (!(await hasWrk())) return storm({ ...what, addresses: 'many', patient: true })
  const { url, clients: connections, seconds, group, accounts, password } = what
  const args = [group, `${accounts}`, password, `${nextNetwork()}`]
  return readOutcome(await runWrk({ url, connections, seconds, script: 'wrk-logins.lua', args }))
}
