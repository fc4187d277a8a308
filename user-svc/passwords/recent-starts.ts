/** Counts the hashes that each network has started recently: of two networks of a class, the one with fewer is next. */

import type { Clock } from '#common/time/clock.ts'

const windowMs = 60_000

export class RecentStarts {
  readonly #clock: Pick<Clock, 'now'>
  #endsAt: number
  // A network has an entry for a hash at least, so the speed of the machine bounds both.
  #current = new Map<string, number>()
  #previous = new Map<string, number>()

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
    this.#endsAt = clock.now() + windowMs
  }

  add(network: string): void {
    this.#rotate()
    this.#current.set(network, (this.#current.get(network) ?? 0) + 1)
  }

  /** The starts of the last one to two minutes. */
  of(network: string): number {
    this.#rotate()
    return (this.#current.get(network) ?? 0) + (this.#previous.get(network) ?? 0)
  }

  #rotate(): void {
    const now = this.#clock.now()
    if (now < this.#endsAt) return
    this.#previous = now < this.#endsAt + windowMs ? this.#current : new Map()
    this.#current = new Map()
    this.#endsAt = now + windowMs
  }
}
