/** Installs nginx, which some tests put before the gateway: Debian's package, without its service. */

import { installPackages } from '../stack/engines/debian-package.ts'
import { isInstalled } from '../stack/tool.ts'

/** Installs nginx unless it is on the path. Where that is impossible, prints that its tests are skipped. */
export async function installNginx(print: (line: string) => void, signal: AbortSignal): Promise<void> {
  if (await isInstalled('nginx')) return
  await installPackages(['nginx'], print, signal).catch((error) => {
    signal.throwIfAborted()
    print(`the tests that need nginx are skipped: ${error.message}`)
  })
}
