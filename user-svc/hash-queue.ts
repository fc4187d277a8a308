/**
 * Decides who may hash a password when: at most one hash a core at a time, the others in two lanes, so that neither
 * log-ins nor registrations starve the other; whoever cannot be served within its deadline is refused at once.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { overloaded } from '#common/errors/connect-errors.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { untilAborted } from '#common/time/deadline.ts'

export const lanes = ['login', 'registration'] as const
export type Lane = (typeof lanes)[number]

/** Why a call was refused: the lane was full for it, or hashing has become slower than was expected. */
export type ShedReason = 'hash_queue_full' | 'hash_slow'

/** Told of what happens; times in seconds. */
export interface HashQueueEvents {
  length(lane: Lane, waiting: number): void
  waited(lane: Lane, seconds: number): void
  shed(reason: ShedReason): void
}

type Caller = Pick<Call, 'signal' | 'timeoutMs'>

export interface HashQueue {
  /**
   * Does what comes before a hash, and keeps a place in the queue meanwhile: of many who come at once, those for whom
   * there is none are refused before anything is done for them.
   *
   * @throws ConnectError `unavailable`, with the time after which there should be room
   */
  prepare<T>(lane: Lane, caller: Caller, work: () => Promise<T>): Promise<T>
  /**
   * Does the work when it is its turn. A caller that goes away leaves the queue.
   *
   * @throws ConnectError `unavailable` if it could not be done in time
   */
  run<T>(lane: Lane, caller: Caller, work: () => Promise<T>): Promise<T>
  /** Whether there is a core that nobody waits for. */
  isIdle(): boolean
}

interface Waiting {
  start(): void
}

// What comes behind a hash: the session, the answer's way.
const reserveMs = 250
// When other work needs the cores, hashing becomes half as fast, and whoever was let in should still be served.
const caution = 2
// For the answer alone.
const answerMs = 100
// How much the last hash counts in the estimate of the next one.
const weight = 0.2
// What it takes to refuse some dozens.
const politeMs = 20

/**
 * @param slots hashes at a time
 * @param firstHashMs how long a hash takes, until that has been measured
 */
export function createHashQueue(slots: number, firstHashMs: number, events: HashQueueEvents): HashQueue {
  const waiting: Record<Lane, Set<Waiting>> = { login: new Set(), registration: new Set() }
  /** For whom places are kept. */
  const preparing: Record<Lane, number> = { login: 0, registration: 0 }
  let running = 0
  /** Since when each hash has been computed, the oldest first. */
  const since = new Set<{ ms: number }>()
  let lastLane: Lane = 'registration'
  let hashMs = firstHashMs

  const other = (lane: Lane): Lane => (lane === 'login' ? 'registration' : 'login')

  /** How long a hash takes: as the last ones did, or longer if one that is under way does. */
  function expectedHashMs(): number {
    const [oldest] = since
    return oldest ? Math.max(hashMs, performance.now() - oldest.ms) : hashMs
  }

  /** How long one more would wait for its turn: the lanes take turns, so it waits for as many of the other as of its own. */
  function expectedWaitMs(lane: Lane): number {
    const own = waiting[lane].size + preparing[lane]
    const ahead = own + Math.min(waiting[other(lane)].size + preparing[other(lane)], own + 1)
    const begun = Math.max(ahead + running - slots + 1, 0)
    return (begun * expectedHashMs()) / slots
  }

  /** @returns the expected wait */
  function requireRoom(lane: Lane, { timeoutMs }: Caller): number {
    const waitMs = expectedWaitMs(lane)
    const neededMs = caution * waitMs + expectedHashMs() + reserveMs
    if (waitMs > 0 && neededMs > timeoutMs()) throw refusal('hash_queue_full', waitMs)
    return waitMs
  }

  function refusal(reason: ShedReason, waitMs: number) {
    events.shed(reason)
    return overloaded(Math.max(1, Math.ceil(waitMs / 1000)))
  }

  /** Resolves when it is the caller's turn. */
  function turn(lane: Lane, { signal, timeoutMs }: Caller): Promise<void> {
    const queue = waiting[lane]
    return new Promise((resolve, reject) => {
      function leave(): void {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        queue.delete(entry)
        events.length(lane, queue.size)
      }
      function onAbort(): void {
        leave()
        // Says why, as every other wait does.
        untilAborted(signal, Promise.resolve()).catch(reject)
      }
      const entry: Waiting = {
        start() {
          leave()
          resolve()
        }
      }
      const timer = setTimeout(
        () => {
          leave()
          reject(refusal('hash_slow', expectedWaitMs(lane)))
        },
        timeoutMs() - hashMs - reserveMs
      )
      signal.addEventListener('abort', onAbort, { once: true })
      queue.add(entry)
      events.length(lane, queue.size)
    })
  }

  function startNext(): void {
    const lane = waiting[other(lastLane)].size > 0 ? other(lastLane) : lastLane
    const [next] = waiting[lane]
    if (next === undefined || running >= slots) return
    running += 1
    lastLane = lane
    next.start()
  }

  async function timed<T>(work: () => Promise<T>): Promise<T> {
    const begun = { ms: performance.now() }
    since.add(begun)
    try {
      const result = await work()
      // One that failed, because its caller disconnected for example, says nothing about how long a hash takes.
      hashMs += weight * (performance.now() - begun.ms - hashMs)
      return result
    } finally {
      since.delete(begun)
      running -= 1
      startNext()
    }
  }

  /**
   * A hash whose caller still listens. One that is being computed cannot be stopped: its core stays taken, though its
   * caller is told that it was not done.
   */
  async function inTime<T>(lane: Lane, { signal, timeoutMs }: Caller, hashed: Promise<T>): Promise<T> {
    const { promise: late, reject: giveUp } = Promise.withResolvers<never>()
    const leftMs = Math.max(0, timeoutMs() - answerMs)
    const timer = setTimeout(() => giveUp(refusal('hash_slow', expectedWaitMs(lane))), leftMs)
    try {
      return await Promise.race([late, untilAborted(signal, hashed)])
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    async prepare(lane, caller, work) {
      const waitMs = requireRoom(lane, caller)
      preparing[lane] += 1
      try {
        // Of those who have to wait anyway all but the first let those go first who came with them and are refused.
        if (waitMs > politeMs && preparing[lane] > 1) await untilAborted(caller.signal, sleep(politeMs))
        return await work()
      } finally {
        preparing[lane] -= 1
      }
    },
    async run(lane, caller, work) {
      caller.signal.throwIfAborted()
      const askedAt = performance.now()
      if (running < slots) {
        running += 1
        lastLane = lane
      } else {
        requireRoom(lane, caller)
        await turn(lane, caller)
      }
      events.waited(lane, (performance.now() - askedAt) / 1000)
      return inTime(lane, caller, timed(work))
    },
    isIdle: () => running < slots
  }
}
