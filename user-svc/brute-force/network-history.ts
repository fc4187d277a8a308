/** Remembers which networks have logged in or failed recently, in memory and of one instance: it decides their share of the hashes. */

import { type Clock, systemClock } from '#common/time/clock.ts'
import type { CallClass } from '../passwords/fair-queue.ts'

const failingMs = 10 * 60_000
const knownMs = 60 * 60_000

interface Outcomes {
  succeededAt?: number
  failedAt?: number
}

export class NetworkHistory {
  readonly #clock: Pick<Clock, 'now'>
  readonly #maxNetworks: number
  /** The network with the oldest outcome is the first. */
  readonly #outcomes = new Map<string, Outcomes>()

  constructor(clock: Pick<Clock, 'now'> = systemClock, maxNetworks = 10_000) {
    this.#clock = clock
    this.#maxNetworks = maxNetworks
  }

  record(network: string, isSuccess: boolean): void {
    const outcomes = { ...this.#outcomes.get(network), [isSuccess ? 'succeededAt' : 'failedAt']: this.#clock.now() }
    this.#outcomes.delete(network)
    this.#outcomes.set(network, outcomes)
    const [oldest] = this.#outcomes.keys()
    if (this.#outcomes.size > this.#maxNetworks && oldest !== undefined) this.#outcomes.delete(oldest)
  }

  /** A success does not outweigh a failure: otherwise an attacker with an account would get the share of known callers. */
  classOf(network: string): CallClass {
    const { succeededAt = Number.NEGATIVE_INFINITY, failedAt = Number.NEGATIVE_INFINITY } =
      this.#outcomes.get(network) ?? {}
    const now = this.#clock.now()
    if (now - failedAt < failingMs) return 'failing'
    return now - succeededAt < knownMs ? 'known' : 'clean'
  }
}
