/** A breaker before an upstream: while that gives no sign of life, calls are refused at once instead of waiting for their deadlines. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { DescMethod } from '@bufbuild/protobuf'
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect'
import { Health } from '#gen/grpc/health/v1/health_pb.ts'
import { unavailable } from './errors.ts'
import { isBrokenOff } from './retry.ts'
import { withinMs } from './time-limit.ts'

/** Calls go through; none does; one probe decides. */
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

export function createBreaker({ probe, reconnect, changed, refused }: BreakerOptions): Breaker {
  let state: BreakerState = 'closed'
  let failures = 0
  let failedAt = 0
  let suspected = false

  function become(next: BreakerState): void {
    state = next
    changed(next)
  }

  function isAlive(): Promise<boolean> {
    return withinMs(probeWithinMs, probe()).then(() => true, answered)
  }

  async function suspect(): Promise<void> {
    suspected = true
    if (!(await isAlive())) become('open')
    while (state !== 'closed') {
      await sleep(probeEveryMs * (0.5 + Math.random()), undefined, { ref: false })
      become('half-open')
      if (await isAlive()) {
        become('closed')
      } else {
        reconnect()
        become('open')
      }
    }
    failures = 0
    suspected = false
  }

  const intercept: Interceptor = (next) => async (request) => {
    if (state !== 'closed') {
      refused()
      throw unavailable('A part of the service is not available at the moment.')
    }
    try {
      const response = await next(request)
      failures = 0
      return response
    } catch (error) {
      if (isLifeless(error, request.signal)) {
        failures += isSilentOnHealth(error, request.method) ? failuresToSuspect : 1
        failedAt = performance.now()
      } else if (answered(error)) failures = 0
      if (failures >= failuresToSuspect && !suspected) void suspect()
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
function isSilentOnHealth(thrown: unknown, method: DescMethod): boolean {
  const { code } = ConnectError.from(thrown)
  return method === Health.method.check && code === Code.DeadlineExceeded && !isBrokenOff(thrown)
}

/** Whether nothing came back: no connection, one that broke, or silence until the deadline. A caller that went away says nothing. */
function isLifeless(thrown: unknown, signal: AbortSignal): boolean {
  const { code } = ConnectError.from(thrown)
  if (answered(thrown)) return false
  if (code === Code.Unavailable || code === Code.DeadlineExceeded) return true
  return code === Code.Canceled && !signal.aborted
}
