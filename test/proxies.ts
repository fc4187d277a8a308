/** Installs nginx and HAProxy, which some tests put before the gateway: Debian's packages, without their services. */

import { installPackages } from '../stack/engines/debian-package.ts'
import { isInstalled } from '../stack/tool.ts'

/** Installs those that are not on the path. Where that is impossible, prints that their tests are skipped. */
export async function installProxies(print: (line: string) => void, signal: AbortSignal): Promise<void> {
  const missing: string[] = []
  for (const name of ['nginx', 'haproxy']) if (!(await isInstalled(name))) missing.push(name)
  if (missing.length === 0) return
  await installPackages(missing, print, signal).catch((error) => {
    signal.throwIfAborted()
    print(`the tests that need ${missing.join(' and ')} are skipped: ${error.message}`)
  })
}
