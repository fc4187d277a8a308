/** The circuit breaker of an upstream: while no response arrives from it, calls fail fast instead of waiting for their deadlines. */

import type { DescMethod } from '@bufbuild/protobuf'
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect'
import { dependencyDown } from '#common/errors/connect-errors.ts'
import { backoffMs } from '#common/time/backoff.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { untilAborted } from '#common/time/deadline.ts'
import { withinMs } from '#common/time/timeout.ts'
import { Health } from '#gen/grpc/health/v1/health_pb.ts'
import { isOutcomeUnknown, markNotProcessed } from './retry.ts'

/** Calls pass, and transport failures in a row are counted; the fifth starts a probe, which opens the breaker if it fails. */
interface Closed {
  name: 'closed'
  failures: number
  failedAt: number
}

/**
 * Calls fail fast. If the upstream refuses connections instead of being unresponsive, each call first waits for a probe. A
 * background probe runs in any case.
 */
interface Open {
  name: 'open'
  /** Whether the last probe timed out: another one would take as long, so no call waits for it. */
  isUnresponsive: boolean
  /** Cancels the background probe when the state ends. */
  ended: AbortController
}

/** One probe decides. */
interface HalfOpen {
  name: 'half-open'
  isUnresponsive: boolean
}

type State = Closed | Open | HalfOpen

export type BreakerState = State['name']

interface BreakerOptions {
  /** Requests any response; rejects if none arrives. */
  probe: () => Promise<unknown>
  /** Sends later calls over a new connection: the old one may be useless when the upstream is back. */
  reconnect: () => void
  onStateChange: (state: BreakerState) => void
  onReject: () => void
  clock?: Clock
}

export interface Breaker {
  intercept: Interceptor
  state(): BreakerState
  /** Whether the last call failed without a response, less than a second ago. */
  failing(): boolean
}

// The probe decides whether the upstream is down: a method that is slow, because of its database for example, is no
// reason to reject calls of the others.
const failuresToProbe = 5
const failingMs = 1000
const probeBackoff = { baseMs: 375, capMs: 375, jitter: 2 / 3 }
const probeTimeoutMs = 500
// The probe of an open breaker connects again, which includes DNS and TLS, and its upstream may have just started.
const connectTimeoutMs = 1000
// The shortest time between two probes that calls start, so a call waits at most this long for the start of its probe.
const probeGapMs = 20

const closed = (): Closed => ({ name: 'closed', failures: 0, failedAt: 0 })

export function createBreaker({
  probe,
  reconnect,
  onStateChange,
  onReject,
  clock = systemClock
}: BreakerOptions): Breaker {
  let state: State = closed()
  let probedAt = Number.NEGATIVE_INFINITY
  /** Why the last probe failed, for `/readyz?verbose` and the log; undefined if it timed out. */
  let failure: unknown
  let currentProbe: Promise<boolean> | undefined
  /** The probe that has not started, shared by the calls that wait for it. */
  let nextProbe: Promise<boolean> | undefined

  function enter(entered: State): void {
    if (state.name === 'open') state.ended.abort()
    state = entered
    onStateChange(state.name)
  }

  function onResponse(): void {
    if (state.name === 'closed') state.failures = 0
    else enter(closed())
  }

  function onNoResponse(isUnresponsive: boolean): void {
    const ended = new AbortController()
    enter({ name: 'open', isUnresponsive, ended })
    clock.sleep(backoffMs(0, probeBackoff), ended.signal, true).then(probeOnce, () => {})
  }

  /** Probes now, or waits for the probe that is in flight. @returns whether the upstream responded */
  function probeOnce(): Promise<boolean> {
    currentProbe ??= decide().finally(() => {
      currentProbe = undefined
      probedAt = clock.now()
    })
    return currentProbe
  }

  async function decide(): Promise<boolean> {
    const before = state
    if (before.name === 'open') enter({ name: 'half-open', isUnresponsive: before.isUnresponsive })
    const responded = await respondedWithin(before.name === 'closed' ? probeTimeoutMs : connectTimeoutMs)
    if (responded) {
      onResponse()
      return true
    }
    if (before.name === 'open') reconnect()
    onNoResponse(responded === undefined)
    return false
  }

  /** @returns `undefined` if the probe timed out; a later response closes the breaker all the same */
  async function respondedWithin(limitMs: number): Promise<boolean | undefined> {
    let responded: boolean | undefined
    let isLate = false
    const response = probe().then(
      () => true,
      (error) => {
        if (!isLate) failure = error
        return isResponse(error)
      }
    )
    const settled = response.then((result) => {
      responded = result
    })
    await withinMs(limitMs, settled, clock).catch(() => {})
    if (responded === undefined) {
      isLate = true
      failure = undefined
      void response.then((hasResponded) => hasResponded && onResponse())
    }
    return responded
  }

  async function startNextProbe(): Promise<boolean> {
    await currentProbe
    const waitMs = probedAt + probeGapMs - clock.now()
    if (state.name !== 'closed' && waitMs > 0) await clock.sleep(waitMs)
    nextProbe = undefined
    return state.name === 'closed' || (!state.isUnresponsive && probeOnce())
  }

  /** Waits for a probe that starts after the call: no call fails because of a probe from before the upstream's return. */
  async function probeUntilHealthy(signal: AbortSignal): Promise<boolean> {
    if (state.name === 'closed') return true
    if (state.isUnresponsive) return false
    nextProbe ??= startNextProbe()
    return untilAborted(signal, nextProbe)
  }

  function onError(error: unknown, method: DescMethod, signal: AbortSignal): void {
    if (state.name !== 'closed') return
    if (isTransportFailure(error, signal)) {
      // A health check that times out starts the probe by itself: readiness sends one a second.
      state.failures += isHealthTimeout(error, method) ? failuresToProbe : 1
      state.failedAt = clock.now()
    } else if (isResponse(error)) state.failures = 0
    if (state.failures >= failuresToProbe) void probeOnce()
  }

  const intercept: Interceptor = (next) => async (request) => {
    if (state.name !== 'closed' && !(await probeUntilHealthy(request.signal))) {
      onReject()
      throw markNotProcessed(dependencyDown(failure))
    }
    try {
      const response = await next(request)
      if (state.name === 'closed') state.failures = 0
      return response
    } catch (error) {
      onError(error, request.method, request.signal)
      throw error
    }
  }

  return {
    intercept,
    state: () => state.name,
    failing: () => state.name === 'closed' && state.failures > 0 && clock.now() - state.failedAt < failingMs
  }
}

/** Whether the upstream sent the error: only then it has the headers of a response. */
function isResponse(error: unknown): boolean {
  return error instanceof ConnectError && [...error.metadata.keys()].length > 0
}

function isHealthTimeout(thrown: unknown, method: DescMethod): boolean {
  const { code } = ConnectError.from(thrown)
  return method === Health.method.check && code === Code.DeadlineExceeded && !isOutcomeUnknown(thrown)
}

/**
 * Whether no response arrived: no connection, a failed connection, or the deadline. A cancellation by the caller is not a
 * transport failure.
 */
function isTransportFailure(thrown: unknown, signal: AbortSignal): boolean {
  const { code } = ConnectError.from(thrown)
  if (isResponse(thrown)) return false
  if (code === Code.Unavailable || code === Code.DeadlineExceeded) return true
  return code === Code.Canceled && !signal.aborted
}
