/** The waiting calls of the hash queue, in two lanes: each first in, first out, and the lanes take turns. */

export const lanes = ['login', 'registration'] as const
export type Lane = (typeof lanes)[number]

export interface WaitingCall {
  /** Gives the call a slot. */
  start(): void
}

export function otherLane(lane: Lane): Lane {
  return lane === 'login' ? 'registration' : 'login'
}

export class HashLanes {
  readonly #waiting: Record<Lane, Set<WaitingCall>> = { login: new Set(), registration: new Set() }
  #lastStarted: Lane = 'registration'

  length(lane: Lane): number {
    return this.#waiting[lane].size
  }

  add(lane: Lane, call: WaitingCall): void {
    this.#waiting[lane].add(call)
  }

  /** @returns whether the call was waiting */
  remove(lane: Lane, call: WaitingCall): boolean {
    return this.#waiting[lane].delete(call)
  }

  /** Records that a call of a lane has got a slot: the other lane is next. */
  started(lane: Lane): void {
    this.#lastStarted = lane
  }

  /** Starts the next waiting call. @returns whether there was one */
  startNext(): boolean {
    for (const lane of [otherLane(this.#lastStarted), this.#lastStarted]) {
      const [next] = this.#waiting[lane]
      if (next === undefined) continue
      this.started(lane)
      next.start()
      return true
    }
    return false
  }
}
