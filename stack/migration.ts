/** Migrates the database as the owner of the tables before user-svc starts, which then runs without that role. */

import { Code } from '@connectrpc/connect'
import { toConnectError } from '#common/errors/driver-errors.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { migrateDatabase } from '../user-svc/migrations.ts'
import type { Config } from './config.ts'
import { type Engines, failureName } from './engines.ts'
import { StartError } from './start-error.ts'
import type { Print } from './supervisor.ts'

const retryMs = 250
const timeoutMs = 10_000
// An attempt that takes longer has a connection: to open one, a statement of a check and to close it time out after 7 s.
const connectedAfterMs = 8000

/**
 * Migrates as the role of `make run`, or as that of `userSvc.postgres.migrationUrl`. Failures that may pass are retried for
 * ten seconds, which begin again when a connection is lost.
 *
 * @returns whether it did; if not, user-svc migrates as `userSvc.postgres.migrate` states
 * @throws {StartError} if the database rejects the migration
 */
export async function migrateAsOwner(
  { userSvc }: Pick<Config, 'userSvc'>,
  { postgres }: Pick<Engines, 'postgres'>,
  print: Print,
  signal: AbortSignal,
  clock: Clock = systemClock
): Promise<boolean> {
  const isConfigured = userSvc.postgres.url !== ''
  const migrationUrl = isConfigured ? userSvc.postgres.migrationUrl : postgres.owner
  if (migrationUrl === '' || !userSvc.postgres.migrate) return false
  const log = { warn: ({ reason }: { reason?: string }) => print(`the migration waits for a lock, ${reason}`) }
  const failed = `${isConfigured ? 'userSvc.postgres.migrationUrl: ' : ''}the migration of the database failed`
  let giveUpAt = clock.now() + timeoutMs
  for (;;) {
    signal.throwIfAborted()
    const startedAt = clock.now()
    try {
      await migrateDatabase({ url: postgres.service, migrationUrl }, log)
      return true
    } catch (error) {
      const reason = `${failed}: ${failureName(error)}`
      if (isPermanent(error)) throw new StartError(reason)
      if (clock.now() - startedAt > connectedAfterMs) {
        print(`${reason}, retrying`)
        giveUpAt = clock.now() + timeoutMs
      }
      if (clock.now() > giveUpAt) throw new StartError(reason)
    }
    await clock.sleep(retryMs, signal)
  }
}

/** A missing right, or a statement that the database rejects (class 42 of SQLSTATE); other failures may pass. */
function isPermanent(error: unknown): boolean {
  const { code = '' } = error as { code?: string }
  return code.startsWith('42') || toConnectError(error).code === Code.Internal
}
