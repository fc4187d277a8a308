/** Logs failed steps of outbox rows: at most one line a minute for each dependency and code, with the number of failures since the previous line. */

import type { Code } from '@connectrpc/connect'
import { codeName } from '#common/errors/codes.ts'
import type { Logger } from '#common/logging/logger.ts'
import type { Clock } from '#common/time/clock.ts'
import type { OutboxRow } from './outbox-rows.ts'

const intervalMs = 60_000

interface StepFailure {
  dependency: string
  code: Code
  row: Pick<OutboxRow, 'userId' | 'attempts'>
  error: unknown
}

export function createFailureLog(log: Logger, clock: Clock) {
  const logged = new Map<string, { at: number; suppressed: number }>()

  return function logFailure({ dependency, code, row, error }: StepFailure): void {
    const kind = `${dependency} ${code}`
    const last = logged.get(kind)
    if (last && clock.now() - last.at < intervalMs) {
      last.suppressed += 1
      return
    }
    logged.set(kind, { at: clock.now(), suppressed: 0 })
    const reason = `attempt ${row.attempts + 1}`
    const fields = { dependency, code: codeName(code), userId: row.userId, reason, count: 1 + (last?.suppressed ?? 0) }
    log.warn({ event: 'outbox_delayed', ...fields, err: error }, 'outbox delivery failed, will retry')
  }
}
