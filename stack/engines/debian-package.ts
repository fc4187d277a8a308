/** Installs a package of the distribution, where that is possible: on Debian or Ubuntu, as root. */

import { join } from 'node:path'
import { isInstalled, runTool } from '../tool.ts'
import { Unavailable } from './engine.ts'

let queue: Promise<unknown> = Promise.resolve()

/**
 * Installs packages without starting the services in them, one call after the other.
 *
 * @throws {Unavailable} where it cannot be done.
 */
export function installPackages(packages: string[], say: (line: string) => void, signal: AbortSignal): Promise<void> {
  const mine = queue.then(() => install(packages, say, signal))
  queue = mine.catch(() => {})
  return mine
}

async function install(packages: string[], say: (line: string) => void, signal: AbortSignal): Promise<void> {
  const names = packages.join(' ')
  if (process.getuid?.() !== 0) throw new Unavailable(`${names} is not installed, and only root could install it`)
  if (!(await isInstalled('apt-get'))) throw new Unavailable(`${names} is not installed, and there is no apt-get here`)
  say(`installing ${names} with apt-get`)
  try {
    await runTool('sh', [join(import.meta.dirname, 'apt-install.sh'), ...packages], { signal })
  } catch (error) {
    throw new Unavailable(`apt-get could not install ${names}: ${(error as Error).message}`)
  }
}
