/** Installs Debian packages, as root on Debian or Ubuntu. */

import { join } from 'node:path'
import type { Print } from '../supervisor.ts'
import { isInstalled, runTool } from '../tool.ts'
import { UnavailableError } from './engine.ts'

let queue: Promise<unknown> = Promise.resolve()

/**
 * Installs packages without starting their services. Calls run one after the other.
 *
 * @throws {UnavailableError} if they cannot be installed
 */
export function installPackages(packages: string[], print: Print, signal: AbortSignal): Promise<void> {
  const mine = queue.then(() => install(packages, print, signal))
  queue = mine.catch(() => {})
  return mine
}

async function install(packages: string[], print: Print, signal: AbortSignal): Promise<void> {
  const names = packages.join(' ')
  if (process.getuid?.() !== 0) throw new UnavailableError(`${names} is not installed, and only root can install it`)
  if (!(await isInstalled('apt-get'))) throw new UnavailableError(`${names} is not installed, and there is no apt-get`)
  print(`installing ${names} with apt-get`)
  try {
    await runTool('sh', [join(import.meta.dirname, 'apt-install.sh'), ...packages], { signal })
  } catch (error) {
    throw new UnavailableError(`apt-get could not install ${names}: ${(error as Error).message}`)
  }
}
