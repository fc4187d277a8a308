/**
 * Retries of unary calls within a retry budget. A call may be retried if its contract declares it idempotent
 * (`idempotency_level`) or if it certainly reached no handler, and if it failed as `unavailable` or with its connection.
 */

import { MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, type Interceptor, type UnaryRequest } from '@connectrpc/connect'
import { retryAfterSeconds } from '#common/errors/connect-errors.ts'
import { backoffMs } from '#common/time/backoff.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'

/** Limits retries to a share of the calls, so that an outage does not multiply its own load. */
interface RetryBudget {
  /** Counts a first attempt. */
  called(): void
  /** @returns whether a retry is within the budget; if so, it is counted */
  mayRetry(): boolean
}

const windowSeconds = 10
const share = 0.1
// One retry is always allowed: a single call on a connection that has just died is worth it.
const minRetries = 1

/** A budget of a tenth of the calls of the last ten seconds. */
export function createRetryBudget(clock: Pick<Clock, 'now'> = systemClock): RetryBudget {
  const slots = Array.from({ length: windowSeconds }, () => ({ second: -1, calls: 0, retries: 0 }))

  function slot() {
    const second = Math.floor(clock.now() / 1000)
    const current = slots[second % windowSeconds] as (typeof slots)[number]
    if (current.second !== second) Object.assign(current, { second, calls: 0, retries: 0 })
    return current
  }

  return {
    called() {
      slot().calls += 1
    },
    mayRetry() {
      const current = slot()
      const recent = slots.filter(({ second }) => second > current.second - windowSeconds)
      const calls = recent.reduce((sum, each) => sum + each.calls, 0)
      const retries = recent.reduce((sum, each) => sum + each.retries, 0)
      if (retries + 1 > Math.max(minRetries, calls * share)) return false
      current.retries += 1
      return true
    }
  }
}

const maxRetries = 2
const backoff = { baseMs: 50, capMs: 100, jitter: 1 }

/**
 * The interceptor. It is outside the interceptors of an attempt, so that metrics count each attempt.
 *
 * @param onRetry is called before each retry
 */
export function retry(budget: RetryBudget, onRetry: () => void, clock: Clock = systemClock): Interceptor {
  return (next) => async (request) => {
    if (request.stream) return next(request)
    budget.called()
    let unknownOutcome: unknown
    for (let retries = 0; ; retries += 1) {
      try {
        return await next(request)
      } catch (error) {
        // An attempt with an unknown outcome may have been applied, also if a later one is rejected.
        if (isOutcomeUnknown(error)) unknownOutcome = error
        const failure = ConnectError.from(error).code === Code.Unavailable ? (unknownOutcome ?? error) : error
        if (retries === maxRetries || !mayRepeat(request, error) || !budget.mayRetry()) throw failure
        await clock.sleep(backoffMs(retries, backoff), request.signal).catch(() => {
          throw failure
        })
        onRetry()
      }
    }
  }
}

function mayRepeat({ method, signal }: UnaryRequest, error: unknown): boolean {
  const isRepeatable = method.idempotency !== Idempotency.IDEMPOTENCY_UNKNOWN || isNotProcessed(error)
  return isRepeatable && !signal.aborted && (isTransient(error) || isOutcomeUnknown(error))
}

/** `unavailable` without a RetryInfo: an upstream that sends one has decided itself when a retry is worth it. */
function isTransient(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.Unavailable && retryAfterSeconds(error) === undefined
}

const unprocessed = new WeakSet<object>()

/** The error of a call that certainly reached no handler (RFC 9113, 8.7): it may be retried, whatever its contract declares. */
export function notProcessed(cause: unknown, message = 'The upstream did not process the call.'): ConnectError {
  return markNotProcessed(new ConnectError(message, Code.Unavailable, undefined, undefined, cause))
}

/** Marks the error of a call that certainly reached no handler. @returns the error */
export function markNotProcessed(error: ConnectError): ConnectError {
  unprocessed.add(error)
  return error
}

/** Whether a call certainly reached no handler. */
export function isNotProcessed(error: unknown): boolean {
  return unprocessed.has(error as object)
}

const refusals = new WeakSet<object>()

/** The error of a call that the peer refused, or that the connection could not send any more. */
export function streamRefused(cause: unknown): ConnectError {
  const error = notProcessed(cause)
  refusals.add(error)
  return error
}

/** Whether a call was refused: its peer may be up, so the call is sent once more at once. */
export function isRefused(error: unknown): boolean {
  return refusals.has(error as object)
}

const unknownOutcomes = new WeakSet<object>()

/** The error of a call whose connection failed during the call: it may have been applied. */
export function outcomeUnknown(cause: ConnectError): ConnectError {
  const message = 'The connection failed during the call.'
  const error = new ConnectError(message, Code.DeadlineExceeded, undefined, undefined, cause)
  unknownOutcomes.add(error)
  return error
}

/** Whether the connection failed during a call, which ends the call before its deadline. */
export function isOutcomeUnknown(error: unknown): boolean {
  return unknownOutcomes.has(error as object)
}
