/** Installs PgBouncer, a transaction pooler that some tests put before PostgreSQL. */

import { installPackages } from '../stack/engines/debian-package.ts'
import { UnavailableError } from '../stack/engines/engine.ts'
import { isInstalled } from '../stack/tool.ts'

/** Installs Debian's package unless PgBouncer is installed. Where that is impossible, prints that its tests are skipped. */
export async function installPgbouncer(print: (line: string) => void, signal: AbortSignal): Promise<void> {
  if (await isInstalled('pgbouncer')) return
  await installPackages(['pgbouncer'], print, signal).catch((error) => {
    signal.throwIfAborted()
    if (!(error instanceof UnavailableError)) throw error
    print(`the tests that need PgBouncer are skipped: ${error.message}`)
  })
}
