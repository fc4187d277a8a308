/**
 * Remembers the networks that have logged in or failed recently, or whose calls were shed, in memory and of one instance: it
 * decides their share of the hashes.
 */

import { fairNetworkOf } from '#common/network/addresses.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import type { CallClass, Flow } from '../passwords/fair-queue.ts'

const failingMs = 10 * 60_000
const knownMs = 60 * 60_000
// A client at its rate limit has calls shed more often; a user who met an overload once is soon clean again.
const shedMs = 60_000

/** The times of the last outcomes. */
interface Outcomes {
  succeededAt?: number
  failedAt?: number
  shedAt?: number
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
    this.#set(network, isSuccess ? 'succeededAt' : 'failedAt')
  }

  /**
   * Records that the queue has shed a call. Otherwise an attacker whose calls are shed would keep the place of an untried
   * network. A known device or network keeps its class.
   */
  recordShed({ class: callClass, network }: Flow): void {
    if (callClass !== 'known') this.#set(network, 'shedAt')
  }

  #set(network: string, outcome: keyof Outcomes): void {
    const outcomes = { ...this.#outcomes.get(network), [outcome]: this.#clock.now() }
    this.#outcomes.delete(network)
    this.#outcomes.set(network, outcomes)
    const [oldest] = this.#outcomes.keys()
    if (this.#outcomes.size > this.#maxNetworks && oldest !== undefined) this.#outcomes.delete(oldest)
  }

  /** A success does not outweigh a failure: otherwise an attacker with an account would get the share of known callers. */
  classOf(network: string): CallClass {
    const { succeededAt, failedAt } = this.#outcomes.get(network) ?? {}
    const { shedAt } = this.#outcomes.get(fairNetworkOf(network)) ?? {}
    if (this.#isWithin(failingMs, failedAt)) return 'failing'
    if (this.#isWithin(knownMs, succeededAt)) return 'known'
    return this.#isWithin(shedMs, shedAt) ? 'shed' : 'clean'
  }

  #isWithin(ms: number, at = Number.NEGATIVE_INFINITY): boolean {
    return this.#clock.now() - at < ms
  }
}
