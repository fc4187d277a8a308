/** Keeps those who wait for a database that is away from storming it: one tries for all, and ever more rarely. */

import type pg from 'pg'
import { NotConnectedError } from '#common/errors/driver-errors.ts'

type Connected = (error: Error | null) => void

const [firstPauseMs, lastPauseMs] = [50, 500]

/** With jitter: the pools of other processes lost the same database at the same moment. */
function pauseMs(failures: number): number {
  return Math.min(firstPauseMs * 2 ** failures, lastPauseMs) * (0.5 + Math.random() / 2)
}

/**
 * A client for one pool. As long as all goes well each may connect when it likes. After a failure one at a time may
 * try, and until then every other gets the error that the last one got.
 */
export function paced(Client: typeof pg.Client): typeof pg.Client {
  let failures = 0
  let nextAt = 0
  let lastError: Error | null = null

  return class extends Client {
    override connect(): Promise<pg.Client>
    override connect(callback: Connected): void
    override connect(callback?: Connected): Promise<pg.Client> | undefined {
      // The pool calls it with a callback, always.
      if (callback === undefined) return super.connect()
      if (failures > 0 && performance.now() < nextAt) return void setImmediate(callback, lastError)
      nextAt = performance.now() + pauseMs(failures)
      super.connect((error: Error | null) => {
        failures = error ? failures + 1 : 0
        lastError = error && new NotConnectedError(error)
        nextAt = performance.now() + pauseMs(failures)
        callback(lastError)
      })
    }
  }
}
