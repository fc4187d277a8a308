/** A breaker before an upstream: while that gives no sign of life, calls are refused at once instead of waiting for their deadlines. */

import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { DescMethod } from '@bufbuild/protobuf'
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect'
import { dependencyDown } from '#common/errors/connect-errors.ts'
import { untilAborted } from '#common/time/deadline.ts'
import { withinMs } from '#common/time/timeout.ts'
import { Health } from '#gen/grpc/health/v1/health_pb.ts'
import { isOutcomeUnknown } from './retry.ts'

/** Calls pass; calls are refused; a health check decides. */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** What a breaker is made of. */
export interface BreakerOptions {
  /** Asks the upstream for any answer at all; rejects if there is none. */
  probe: () => Promise<unknown>
  /** Has later calls go over a new connection: one to something that does not answer may be of no use when that is back. */
  reconnect: () => void
  changed: (state: BreakerState) => void
  refused: () => void
}

/** Decides about calls by what became of the last ones. */
export interface Breaker {
  intercept: Interceptor
  state(): BreakerState
  /** Whether the last call was without a sign of life, a moment ago. */
  failing(): boolean
}

// So many calls in a row without a sign of life make the upstream suspect; whether it is dead, a probe decides. A
// handler that is slow, because of its database say, is no reason to keep other calls from those that are not.
const failuresToSuspect = 5
const failingMs = 1000
const probeEveryMs = 250
const probeWithinMs = 500
// An upstream that refused connections and accepts one again has just started: its first response takes longer.
const firstResponseMs = 1000
// Calls cause no more than so many checks, and are decided within little more than this time.
const gapMs = 20

export function createBreaker({ probe, reconnect, changed, refused }: BreakerOptions): Breaker {
  let state: BreakerState = 'closed'
  let failures = 0
  let failedAt = 0
  let isUnresponsive = false
  let checkedAt = Number.NEGATIVE_INFINITY
  /** The check that is in flight. */
  let current: Promise<boolean> | undefined
  /** The check that has not begun, for the calls that wait for it. */
  let next: Promise<boolean> | undefined
  let timer: NodeJS.Timeout | undefined

  function become(next: BreakerState): void {
    state = next
    changed(next)
  }

  async function isAlive(): Promise<boolean> {
    const limitMs = state === 'closed' || isUnresponsive ? probeWithinMs : firstResponseMs
    let alive: boolean | undefined
    const response = probe().then(() => true, answered)
    const settled = response.then((result) => {
      alive = result
    })
    // After a stall of this process its timers run before it reads its sockets, where the response may be.
    await withinMs(limitMs, settled).catch(() => nextTurn())
    isUnresponsive = alive === undefined
    if (isUnresponsive) void response.then((late) => late && respondedLate())
    return alive ?? false
  }

  /** A response proves that the upstream lives, also after the limit of its check. */
  function respondedLate(): void {
    if (state === 'closed') return
    clearTimeout(timer)
    failures = 0
    isUnresponsive = false
    become('closed')
  }

  function check(): Promise<boolean> {
    current ??= decide().finally(() => {
      current = undefined
      checkedAt = performance.now()
    })
    return current
  }

  async function decide(): Promise<boolean> {
    clearTimeout(timer)
    const wasOpen = state === 'open'
    if (wasOpen) become('half-open')
    const alive = await isAlive()
    if (alive) {
      failures = 0
      isUnresponsive = false
      if (wasOpen) become('closed')
      return true
    }
    if (wasOpen) reconnect()
    become('open')
    timer = setTimeout(() => void check(), probeEveryMs * (0.5 + Math.random())).unref()
    return false
  }

  async function nextCheck(): Promise<boolean> {
    await current
    const waitMs = checkedAt + gapMs - performance.now()
    if (state !== 'closed' && waitMs > 0) await sleep(waitMs)
    next = undefined
    return state === 'closed' || (!isUnresponsive && check())
  }

  /**
   * Whether the upstream is back: decided by a check that began after the call came, so no call is refused once the
   * upstream listens again. Only of an upstream that did not respond to the last check is that not asked: it would take
   * its time again.
   */
  async function isBack(signal: AbortSignal): Promise<boolean> {
    if (isUnresponsive) return false
    next ??= nextCheck()
    return untilAborted(signal, next)
  }

  const intercept: Interceptor = (next) => async (request) => {
    if (state !== 'closed' && !(await isBack(request.signal))) {
      refused()
      throw dependencyDown()
    }
    try {
      const response = await next(request)
      failures = 0
      return response
    } catch (error) {
      if (isTransportFailure(error, request.signal)) {
        failures += isHealthTimeout(error, request.method) ? failuresToSuspect : 1
        failedAt = performance.now()
      } else if (answered(error)) failures = 0
      if (failures >= failuresToSuspect && state === 'closed') void check()
      throw error
    }
  }

  return { intercept, state: () => state, failing: () => failures > 0 && performance.now() - failedAt < failingMs }
}

/** Whether the error came from the peer: then that lives, whatever it says. Its headers are on the error. */
function answered(error: unknown): boolean {
  return error instanceof ConnectError && [...error.metadata.keys()].length > 0
}

/** Whoever is silent even when asked for its health, which is done once a second, need not fail more often. */
function isHealthTimeout(thrown: unknown, method: DescMethod): boolean {
  const { code } = ConnectError.from(thrown)
  return method === Health.method.check && code === Code.DeadlineExceeded && !isOutcomeUnknown(thrown)
}

/** Whether nothing came back: no connection, one that broke, or silence until the deadline. A caller that went away says nothing. */
function isTransportFailure(thrown: unknown, signal: AbortSignal): boolean {
  const { code } = ConnectError.from(thrown)
  if (answered(thrown)) return false
  if (code === Code.Unavailable || code === Code.DeadlineExceeded) return true
  return code === Code.Canceled && !signal.aborted
}
