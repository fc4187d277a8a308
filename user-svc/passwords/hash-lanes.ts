/** The waiting calls of the hash queue, in two lanes that take turns; each is a fair queue. */

import { type CallClass, FairQueue, type Flow, type WaitingCall } from './fair-queue.ts'
import type { RecentStarts } from './recent-starts.ts'

export const lanes = ['login', 'registration'] as const
export type Lane = (typeof lanes)[number]

export function otherLane(lane: Lane): Lane {
  return lane === 'login' ? 'registration' : 'login'
}

export class HashLanes {
  readonly #waiting: Record<Lane, FairQueue>
  #lastStarted: Lane = 'registration'

  constructor(recent: RecentStarts) {
    this.#waiting = { login: new FairQueue(recent), registration: new FairQueue(recent) }
  }

  length(lane: Lane): number {
    return this.#waiting[lane].length
  }

  /** Holds a place for a call that does not wait yet. */
  hold(lane: Lane, flow: Flow): void {
    this.#waiting[lane].hold(flow)
  }

  release(lane: Lane, flow: Flow): void {
    this.#waiting[lane].release(flow)
  }

  add(lane: Lane, flow: Flow, call: WaitingCall): void {
    this.#waiting[lane].add(flow, call)
  }

  /** @returns whether the call was waiting */
  remove(lane: Lane, flow: Flow, call: WaitingCall): boolean {
    return this.#waiting[lane].remove(flow, call)
  }

  /** The places that start before a new call. */
  ahead(lane: Lane, flow: Flow): number {
    const own = this.#waiting[lane].ahead(flow)
    // The lanes take turns, so a call waits for as many calls of the other lane as of its own.
    return own + Math.min(this.#waiting[otherLane(lane)].places, own + 1)
  }

  /** Records that a call of a lane has got a slot: the other lane is next. */
  started(lane: Lane): void {
    this.#lastStarted = lane
  }

  /** Starts the next waiting call of the classes that may start. @returns whether there was one */
  startNext(mayStart: (callClass: CallClass) => boolean): boolean {
    for (const lane of [otherLane(this.#lastStarted), this.#lastStarted]) {
      const next = this.#waiting[lane].take(mayStart)
      if (next === undefined) continue
      this.started(lane)
      next.start()
      return true
    }
    return false
  }
}
