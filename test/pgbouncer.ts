/** PgBouncer, through which tests connect to PostgreSQL as behind a transaction pooler. */

import { installPackages } from '../stack/engines/debian-package.ts'
import { UnavailableError } from '../stack/engines/engine.ts'
import { isInstalled } from '../stack/tool.ts'

/** Installs Debian's package unless PgBouncer is there; where that is impossible, says that its tests are skipped. */
export async function installPgbouncer(print: (line: string) => void, signal: AbortSignal): Promise<void> {
  if (await isInstalled('pgbouncer')) return
  await installPackages(['pgbouncer'], print, signal).catch((error) => {
    signal.throwIfAborted()
    if (!(error instanceof UnavailableError)) throw error
    print(`no PgBouncer, so the tests that need it are skipped: ${error.message}`)
  })
}
