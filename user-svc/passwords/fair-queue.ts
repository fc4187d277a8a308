/**
 * Waiting calls in a fair order: classes of callers have shares by weight, and within a class, the network with the fewest recent
 * hashes is next; equal ones take turns. A call that has waited for half of its time is next before them. A class that has no
 * waiting call leaves its share to the others.
 */

import type { RecentStarts } from './recent-starts.ts'

export const callClasses = ['known', 'clean', 'shed', 'failing'] as const

/**
 * `known`: a device or network that has logged in; `shed`: a network whose calls the queue has rejected recently; `failing`: a
 * network with recent wrong passwords; `clean`: all others.
 */
export type CallClass = (typeof callClasses)[number]

/** Whose call waits. */
export interface Flow {
  class: CallClass
  /** Takes turns with the others of its class. */
  network: string
}

export interface WaitingCall {
  /** Gives the call a slot. */
  start(): void
  /** Whether no other call of its class may overtake it any more. */
  isDue(): boolean
}

const weights: Record<CallClass, number> = { known: 4, clean: 2, shed: 1, failing: 1 }

/** The calls of a class. */
class ClassQueue {
  readonly #recent: RecentStarts
  /** By network, in the order of their turns; no network is without a call. */
  readonly calls = new Map<string, Set<WaitingCall>>()
  /** Places of waiting calls and of calls that do not wait yet, by network. */
  readonly places = new Map<string, number>()
  placeCount = 0
  /** Grows with each start, by less for a class of greater weight; the class with the smallest value is next. */
  pass = 0

  constructor(recent: RecentStarts) {
    this.#recent = recent
  }

  changePlaces(network: string, by: 1 | -1): void {
    const places = (this.places.get(network) ?? 0) + by
    this.placeCount += by
    if (places === 0) this.places.delete(network)
    else this.places.set(network, places)
  }

  /** The next call; its network then waits for the other networks. */
  take(): WaitingCall | undefined {
    const network = this.#next()
    const calls = this.calls.get(network) ?? new Set()
    const [call] = calls
    if (call === undefined) return undefined
    calls.delete(call)
    this.calls.delete(network)
    if (calls.size > 0) this.calls.set(network, calls)
    this.changePlaces(network, -1)
    return call
  }

  /** The network with the fewest recent starts, or with a call that is due; of equal ones, the first in turn. */
  #next(): string {
    let next = ''
    let fewest = Number.POSITIVE_INFINITY
    for (const [network, calls] of this.calls) {
      const [oldest] = calls
      const starts = oldest?.isDue() ? 0 : this.#recent.of(network)
      if (starts >= fewest) continue
      next = network
      fewest = starts
    }
    return next
  }

  /** The places that have their turn before the next call of a network. */
  ahead(network: string): number {
    const own = this.places.get(network) ?? 0
    const starts = this.#recent.of(network) + own
    let ahead = own
    for (const [other, places] of this.places) {
      if (other === network) continue
      ahead += Math.min(places, Math.max(0, starts - this.#recent.of(other) + 1))
    }
    return ahead
  }
}

export class FairQueue {
  readonly #classes: Record<CallClass, ClassQueue>
  #length = 0
  #lastPass = 0

  constructor(recent: RecentStarts) {
    const newClass = () => new ClassQueue(recent)
    this.#classes = { known: newClass(), clean: newClass(), shed: newClass(), failing: newClass() }
  }

  /** The number of waiting calls. */
  get length(): number {
    return this.#length
  }

  /** The number of waiting calls and of places that are held for calls. */
  get places(): number {
    return callClasses.reduce((sum, each) => sum + this.#classes[each].placeCount, 0)
  }

  /** Holds a place for a call that does not wait yet. */
  hold(flow: Flow): void {
    this.#classes[flow.class].changePlaces(flow.network, 1)
  }

  release(flow: Flow): void {
    this.#classes[flow.class].changePlaces(flow.network, -1)
  }

  add({ class: name, network }: Flow, call: WaitingCall): void {
    const queue = this.#classes[name]
    queue.pass = this.#passOf(name)
    const calls = queue.calls.get(network)
    if (calls) calls.add(call)
    else queue.calls.set(network, new Set([call]))
    queue.changePlaces(network, 1)
    this.#length += 1
  }

  /** @returns whether the call was waiting */
  remove({ class: name, network }: Flow, call: WaitingCall): boolean {
    const queue = this.#classes[name]
    const calls = queue.calls.get(network)
    if (!calls?.delete(call)) return false
    if (calls.size === 0) queue.calls.delete(network)
    queue.changePlaces(network, -1)
    this.#length -= 1
    return true
  }

  /** Removes the call that is next among the classes that may start. */
  take(mayStart: (callClass: CallClass) => boolean): WaitingCall | undefined {
    const waiting = callClasses.filter((each) => this.#classes[each].calls.size > 0 && mayStart(each))
    const [next] = waiting.sort((a, b) => this.#classes[a].pass - this.#classes[b].pass)
    if (next === undefined) return undefined
    const queue = this.#classes[next]
    this.#lastPass = queue.pass
    queue.pass += 1 / weights[next]
    this.#length -= 1
    return queue.take()
  }

  /** The places that start before a new call: a call of an idle class is next, if no class of greater weight waits. */
  ahead({ class: name, network }: Flow): number {
    const own = this.#classes[name].ahead(network)
    const pass = this.#passOf(name) + own / weights[name]
    let isBefore = true
    return callClasses.reduce((sum, each) => {
      if (each === name) {
        isBefore = false
        return sum
      }
      const share = (pass - this.#passOf(each)) * weights[each]
      // At equal passes, the classes start in their order.
      const starts = isBefore ? Math.floor(share) + 1 : Math.ceil(share)
      return sum + Math.min(this.#classes[each].placeCount, Math.max(starts, 0))
    }, own)
  }

  /** A class that was idle has saved no share for later. */
  #passOf(name: CallClass): number {
    const { calls, pass } = this.#classes[name]
    return calls.size === 0 ? Math.max(pass, this.#lastPass) : pass
  }
}
