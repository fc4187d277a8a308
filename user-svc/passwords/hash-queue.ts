/**
 * Decides when a password is hashed: at most one hash per core at a time; further calls wait in two lanes, so that
 * neither logins nor registrations starve the other. In a lane, classes of callers and their networks have fair shares, so a few
 * networks do not keep the others out. Failing networks leave one slot free: a running hash cannot be stopped, so any other call
 * would wait for theirs. A call that cannot be served within its deadline is rejected at once.
 */

import { overloaded } from '#common/errors/connect-errors.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { untilAborted } from '#common/time/deadline.ts'
import type { CallClass, Flow, WaitingCall } from './fair-queue.ts'
import { HashEstimate } from './hash-estimate.ts'
import { HashLanes, type Lane } from './hash-lanes.ts'
import { RecentStarts } from './recent-starts.ts'

/** Why a call was rejected: its lane was too long for its deadline, or hashing became slower than expected. */
export type ShedReason = 'hash_queue_full' | 'hash_slow'

/** Receives what the queue measures. */
export interface HashQueueObserver {
  onLength(lane: Lane, waiting: number): void
  onStart(lane: Lane, waitedSeconds: number, callClass: CallClass): void
  onShed(reason: ShedReason, flow: Flow): void
}

/** Callers without a flow share one. */
type Caller = Pick<Call, 'signal' | 'timeoutMs'> & { flow?: Flow }

const sharedFlow: Flow = { class: 'clean', network: '' }

// Time that a call needs after its hash, for the session and the response.
const reserveMs = 250
// Other work on the cores can slow hashing down; an admitted call is still served when the wait doubles.
const waitSafetyFactor = 2
// Others overtake a waiting call for this share of its time. Without an end, calls that were admitted would wait in vain.
const overtakenShare = 0.5
// Time that the response alone needs.
const responseMs = 100

export class HashQueue {
  readonly #slots: number
  readonly #observer: HashQueueObserver
  readonly #clock: Clock
  readonly #estimate: HashEstimate
  readonly #recent: RecentStarts
  readonly #lanes: HashLanes
  readonly #running = { all: 0, failing: 0 }

  /**
   * @param slots hashes at a time
   * @param firstHashMs how long a hash takes, until that has been measured
   */
  constructor(slots: number, firstHashMs: number, observer: HashQueueObserver, clock: Clock = systemClock) {
    this.#slots = slots
    this.#observer = observer
    this.#clock = clock
    this.#estimate = new HashEstimate(firstHashMs, clock)
    this.#recent = new RecentStarts(clock)
    this.#lanes = new HashLanes(this.#recent)
  }

  /** Whether a hash could start now. */
  hasFreeSlot(): boolean {
    return this.#running.all < this.#slots
  }

  #slotsOf(callClass: CallClass): number {
    return callClass === 'failing' ? Math.max(1, this.#slots - 1) : this.#slots
  }

  #mayStart(callClass: CallClass): boolean {
    const isWithinShare = callClass !== 'failing' || this.#running.failing < this.#slotsOf('failing')
    return isWithinShare && this.hasFreeSlot()
  }

  #takeSlot({ class: callClass, network }: Flow): void {
    this.#recent.add(network)
    this.#running.all += 1
    if (callClass === 'failing') this.#running.failing += 1
  }

  /** The waiting calls take over the slot, if they may. */
  #freeSlot({ class: callClass }: Flow): void {
    this.#running.all -= 1
    if (callClass === 'failing') this.#running.failing -= 1
    while (this.#lanes.startNext((each) => this.#mayStart(each)));
  }

  /**
   * Does the work before a hash, such as queries, and reserves a place in the queue meanwhile: of a burst of calls, those
   * without a place are rejected before any work is done for them.
   *
   * @throws ConnectError `unavailable`, with the time after which there should be room
   */
  async prepare<T>(lane: Lane, caller: Caller, work: () => Promise<T>): Promise<T> {
    const { flow = sharedFlow } = caller
    this.#requireRoom(lane, caller)
    this.#lanes.hold(lane, flow)
    try {
      return await work()
    } finally {
      this.#lanes.release(lane, flow)
    }
  }

  /**
   * Runs the hash as soon as there is a slot. A caller that disconnects leaves the queue.
   *
   * @throws ConnectError `unavailable` if the hash could not be computed in time
   */
  async run<T>(lane: Lane, caller: Caller, hash: () => Promise<T>): Promise<T> {
    caller.signal.throwIfAborted()
    const { flow = sharedFlow } = caller
    const calledAt = this.#clock.now()
    if (this.#mayStart(flow.class)) {
      this.#takeSlot(flow)
      this.#lanes.started(lane)
    } else {
      this.#requireRoom(lane, caller)
      await this.#waitForSlot(lane, caller)
    }
    this.#observer.onStart(lane, (this.#clock.now() - calledAt) / 1000, flow.class)
    return this.#withinDeadline(lane, caller, this.#runInSlot(flow, hash))
  }

  #expectedWaitMs(lane: Lane, flow: Flow): number {
    const slots = this.#slotsOf(flow.class)
    const startsBefore = Math.max(this.#lanes.ahead(lane, flow) + Math.min(this.#running.all - slots, 0) + 1, 0)
    return (startsBefore * this.#estimate.expectedMs()) / slots
  }

  #requireRoom(lane: Lane, { timeoutMs, flow = sharedFlow }: Caller): void {
    const waitMs = this.#expectedWaitMs(lane, flow)
    const neededMs = waitSafetyFactor * waitMs + this.#estimate.expectedMs() + reserveMs
    if (waitMs > 0 && neededMs > timeoutMs()) throw this.#shed('hash_queue_full', lane, flow)
  }

  #shed(reason: ShedReason, lane: Lane, flow: Flow) {
    this.#observer.onShed(reason, flow)
    return overloaded(Math.max(1, Math.ceil(this.#expectedWaitMs(lane, flow) / 1000)), { class: flow.class })
  }

  /** Resolves when the call has got a slot. */
  #waitForSlot(lane: Lane, { signal, timeoutMs, flow = sharedFlow }: Caller): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const patienceMs = timeoutMs() - this.#estimate.averageMs() - reserveMs
    const dueAt = this.#clock.now() + patienceMs * overtakenShare
    let isWaiting = true
    const leave = (settle: () => void) => {
      // The call has left the queue for another reason.
      if (!isWaiting) return
      isWaiting = false
      this.#lanes.remove(lane, flow, call)
      cancelTimer()
      signal.removeEventListener('abort', onAbort)
      this.#observer.onLength(lane, this.#lanes.length(lane))
      settle()
    }
    const call: WaitingCall = {
      start: () => {
        this.#takeSlot(flow)
        leave(resolve)
      },
      isDue: () => this.#clock.now() >= dueAt
    }
    const onAbort = () => leave(() => untilAborted(signal, Promise.resolve()).catch(reject))
    const onLate = () => leave(() => reject(this.#shed('hash_slow', lane, flow)))
    this.#lanes.add(lane, flow, call)
    this.#observer.onLength(lane, this.#lanes.length(lane))
    signal.addEventListener('abort', onAbort, { once: true })
    const cancelTimer = this.#clock.startTimer(patienceMs, onLate)
    return promise
  }

  async #runInSlot<T>(flow: Flow, hash: () => Promise<T>): Promise<T> {
    try {
      return await this.#estimate.measure(hash)
    } finally {
      this.#freeSlot(flow)
    }
  }

  /** A running hash cannot be stopped: it keeps its slot, although its caller gets an error in time. */
  async #withinDeadline<T>(
    lane: Lane,
    { signal, timeoutMs, flow = sharedFlow }: Caller,
    hashed: Promise<T>
  ): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>()
    const patienceMs = Math.max(0, timeoutMs() - responseMs)
    const cancelTimer = this.#clock.startTimer(patienceMs, () => reject(this.#shed('hash_slow', lane, flow)))
    try {
      return await Promise.race([late, untilAborted(signal, hashed)])
    } finally {
      cancelTimer()
    }
  }
}
