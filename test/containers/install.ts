/** The Docker daemon of the tests, from the distribution's package; it is not started as a service. */

import { installPackages } from '../../stack/engines/debian-package.ts'
import { isInstalled } from '../../stack/tool.ts'

/** Installs the daemon unless it is there; where that is impossible, prints why its tests are skipped. */
export async function installDocker(print: (line: string) => void, signal: AbortSignal): Promise<void> {
  if (await isInstalled('dockerd')) return
  await installPackages(['docker.io', 'containerd', 'runc', 'iptables'], print, signal).catch((error) => {
    signal.throwIfAborted()
    print(`no Docker daemon: ${error.message}; the tests of the image are skipped`)
  })
}
