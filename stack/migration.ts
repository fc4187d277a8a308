/** Migrates the database as the owner of the tables before user-svc starts, which then runs without that role. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Code } from '@connectrpc/connect'
import { toConnectError } from '#common/errors/driver-errors.ts'
import { migrateDatabase } from '../user-svc/migrations.ts'
import type { Config } from './config.ts'
import { type Engines, failureName } from './engines.ts'
import { StartError } from './start-error.ts'
import type { Print } from './supervisor.ts'

const retryMs = 250
const timeoutMs = 10_000

/**
 * Migrates as the role of `make run`, or as that of `userSvc.postgres.migrationUrl`.
 *
 * @returns whether it did; if not, user-svc migrates as `userSvc.postgres.migrate` states
 * @throws {StartError} if the database rejects the migration
 */
export async function migrateAsOwner(
  { userSvc }: Pick<Config, 'userSvc'>,
  { postgres }: Pick<Engines, 'postgres'>,
  print: Print,
  signal: AbortSignal
): Promise<boolean> {
  const migrationUrl = userSvc.postgres.url === '' ? postgres.owner : userSvc.postgres.migrationUrl
  if (migrationUrl === '' || !userSvc.postgres.migrate) return false
  const log = { warn: ({ reason }: { reason?: string }) => print(`the migration waits for a lock, ${reason}`) }
  const giveUpAt = performance.now() + timeoutMs
  for (;;) {
    signal.throwIfAborted()
    try {
      await migrateDatabase({ url: postgres.service, migrationUrl }, log)
      return true
    } catch (error) {
      if (isPermanent(error) || performance.now() > giveUpAt)
        throw new StartError(`the migration of the database failed: ${failureName(error)}`)
    }
    await sleep(retryMs, undefined, { signal })
  }
}

/** A missing right, or a statement that the database rejects (class 42 of SQLSTATE); other failures may pass. */
function isPermanent(error: unknown): boolean {
  const { code = '' } = error as { code?: string }
  return code.startsWith('42') || toConnectError(error).code === Code.Internal
}
