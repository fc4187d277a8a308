/** Logs failed attempts to send an email: at most one line a minute for each kind, with the number of failures since the previous line. */

import type { Logger } from '#common/logging/logger.ts'
import type { Clock } from '#common/time/clock.ts'
import type { DueEmail } from './email-rows.ts'
import { type FailureKind, MailError } from './mail-error.ts'

const intervalMs = 60_000

export function createMailFailureLog(log: Logger, clock: Clock) {
  const logged = new Map<FailureKind, { at: number; suppressed: number }>()

  return {
    /** @param thrown logged only if it is no MailError, and so a bug */
    log(kind: FailureKind, { userId, purpose, attempts }: DueEmail, thrown: unknown): void {
      const last = logged.get(kind)
      if (last && clock.now() - last.at < intervalMs) {
        last.suppressed += 1
        return
      }
      logged.set(kind, { at: clock.now(), suppressed: 0 })
      const failure = thrown instanceof MailError ? thrown.failure : kind
      const reason = `${purpose}: ${failure}, attempt ${attempts + 1}`
      const fields = { dependency: 'mail', ...(userId && { userId }), reason, count: 1 + (last?.suppressed ?? 0) }
      const err = thrown instanceof MailError ? {} : { err: thrown }
      log.warn({ event: 'email_delayed', ...fields, ...err }, 'failed to send an email, will retry')
    }
  }
}
