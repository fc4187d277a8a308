/** Runs bare-bcrypt.ts, to which logins and registrations are compared. */

import { availableParallelism } from 'node:os'
import { completionRate } from './measurement.ts'
import { runScript } from './script.ts'

/** The number of concurrent hashes. */
export const cores = availableParallelism()

/** @returns hashes a second at the cost of a stored hash */
export async function bareHashes(stored: string, seconds: number): Promise<number> {
  const hash = stored.slice(stored.indexOf('$'))
  const env = { UV_THREADPOOL_SIZE: String(cores) }
  return completionRate(await runScript<number[]>('bare-bcrypt.ts', [hash, String(seconds)], { env }), cores)
}
