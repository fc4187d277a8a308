/** The user that runs Redis and Kafka as processes. */

import { dirname } from 'node:path'
import { engineUser, handOver, isRoot, type SystemUser, systemUser, takeBack, unreachablePath } from '../system-user.ts'
import type { EngineOptions } from './engine.ts'

/**
 * Gives the data of an engine to its user, if root starts it. Undefined: the current user.
 *
 * @param name of the engine
 * @param programs paths that the user must be able to read
 */
export async function engineOwner(
  name: string,
  { directory, print }: Pick<EngineOptions, 'directory' | 'print'>,
  programs: string[] = []
): Promise<SystemUser | undefined> {
  if (!isRoot()) return undefined
  try {
    const user = await systemUser(engineUser)
    const unreachable = await unreachablePath(
      user,
      [...programs, dirname(directory)].filter((path) => path !== '')
    )
    if (unreachable !== undefined) throw new Error(`the user ${engineUser} cannot read ${unreachable}`)
    await handOver(directory, user)
    return user
  } catch (error) {
    print(`${name} runs as root: ${(error as Error).message}`)
    await takeBack(directory)
    return undefined
  }
}
