/** Installs the PostgreSQL server with pg_dump, which the test of a restore needs: that of `make run` has no client programs. */

import { installPackages } from '../stack/engines/debian-package.ts'
import { UnavailableError } from '../stack/engines/engine.ts'
import { postgresPrograms } from './support/debian-postgres.ts'

/** Installs Debian's packages unless they are there. Where that is impossible, prints that the test is skipped. */
export async function installPostgresPrograms(print: (line: string) => void, signal: AbortSignal): Promise<void> {
  if (process.env.POSTGRES_PROGRAMS || postgresPrograms() !== undefined) return
  await installPackages(['postgresql', 'postgresql-client'], print, signal).catch((error) => {
    signal.throwIfAborted()
    if (!(error instanceof UnavailableError)) throw error
    print(`the test of a restore is skipped: ${error.message}`)
  })
}
