/** Estimates how long the next hash takes: a moving average, in which a running hash that already exceeds it counts as finished. */

import type { Clock } from '#common/time/clock.ts'

// The share of the last hash in the average.
const weight = 0.2

export class HashEstimate {
  readonly #clock: Clock
  /** Start times, the oldest first. */
  readonly #running = new Set<{ startedAt: number }>()
  #averageMs: number

  /** @param firstHashMs the estimate until a hash has been measured */
  constructor(firstHashMs: number, clock: Clock) {
    this.#averageMs = firstHashMs
    this.#clock = clock
  }

  averageMs(): number {
    return this.#averageMs
  }

  /**
   * A hash that waits for a core on a busy machine says little about the next ones: with its age as the estimate, up to 6 of 21
   * registrations right after a start were rejected; all 21 take two seconds. The price: after a sudden slowdown, more calls wait
   * until their deadline.
   */
  expectedMs(): number {
    let averageMs = this.#averageMs
    for (const { startedAt } of this.#running) {
      averageMs += weight * Math.max(0, this.#clock.now() - startedAt - averageMs)
    }
    return averageMs
  }

  async measure<T>(hash: () => Promise<T>): Promise<T> {
    const run = { startedAt: this.#clock.now() }
    this.#running.add(run)
    try {
      const result = await hash()
      // A hash whose caller disconnected before its start took no time: it rejects and does not lower the average.
      this.#averageMs += weight * (this.#clock.now() - run.startedAt - this.#averageMs)
      return result
    } finally {
      this.#running.delete(run)
    }
  }
}
