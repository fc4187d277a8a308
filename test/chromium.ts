/** Installs Chromium, which some tests drive: Debian's package. */

import { installPackages } from '../stack/engines/debian-package.ts'
import { isInstalled } from '../stack/tool.ts'

/** Installs Chromium unless it is on the path. Where that is impossible, prints that its tests are skipped. */
export async function installChromium(print: (line: string) => void, signal: AbortSignal): Promise<void> {
  if (await isInstalled('chromium')) return
  await installPackages(['chromium'], print, signal).catch((error) => {
    signal.throwIfAborted()
    print(`the tests that need Chromium are skipped: ${error.message}`)
  })
}
