/**
 * Calls that may be repeated are, within a budget: what the contract declares decides (`idempotency_level`), or that
 * the peer never took the call; only `unavailable` and a connection that broke are worth it, and an outage is never
 * made worse by it.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect'
import { retryAfterSeconds } from '#common/errors/connect-errors.ts'

/** How many retries there may be. */
export interface RetryBudget {
  /** Counts a call, which is no retry. */
  called(): void
  /** @returns whether there may be a retry now, which is then counted */
  mayRetry(): boolean
}

const windowSeconds = 10
const share = 0.1
// So that a lone call on a connection that has just died is not lost to arithmetic.
const least = 1

/** A tenth of the calls of the last ten seconds. */
export function createRetryBudget(nowMs = () => performance.now()): RetryBudget {
  const slots = Array.from({ length: windowSeconds }, () => ({ second: -1, calls: 0, retries: 0 }))

  function slot() {
    const second = Math.floor(nowMs() / 1000)
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
      if (retries + 1 > Math.max(least, calls * share)) return false
      current.retries += 1
      return true
    }
  }
}

const unprocessed = new WeakSet<object>()

/** The error of a call that certainly reached no handler (RFC 9113, 8.7): it may be repeated, whatever its contract says. */
export function notProcessed(cause: unknown, sentence = 'The service took no more calls.'): ConnectError {
  const error = new ConnectError(sentence, Code.Unavailable, undefined, undefined, cause)
  unprocessed.add(error)
  return error
}

/** Whether an error says that its call certainly reached no handler. */
export function isNotProcessed(error: unknown): boolean {
  return unprocessed.has(error as object)
}

const mostRetries = 2
const [firstDelayMs, lastDelayMs] = [25, 250]

/**
 * The interceptor. It is outside those that count calls, so that each attempt is counted.
 *
 * @param retried is told of each retry
 */
export function retry(budget: RetryBudget, retried: () => void): Interceptor {
  return (next) => async (request) => {
    if (request.stream) return next(request)
    budget.called()
    let unknown: unknown
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await next(request)
      } catch (error) {
        // What an attempt may have done is not undone because another one was refused.
        if (isOutcomeUnknown(error)) unknown = error
        const failure = ConnectError.from(error).code === Code.Unavailable ? (unknown ?? error) : error
        const repeatable = request.method.idempotency !== Idempotency.IDEMPOTENCY_UNKNOWN || isNotProcessed(error)
        if (!repeatable || attempt > mostRetries || request.signal.aborted) throw failure
        if (!isTransient(error) && !isOutcomeUnknown(error)) throw failure
        if (!budget.mayRetry()) throw failure
        // Full jitter: those who failed together do not come back together.
        const delayMs = Math.random() * Math.min(firstDelayMs * 2 ** attempt, lastDelayMs)
        await sleep(delayMs, undefined, { signal: request.signal }).catch(() => {
          throw failure
        })
        retried()
      }
    }
  }
}

const unknownOutcomes = new WeakSet<object>()

/** The error of a call whose connection broke under it: it may have been done, which is so also when no repetition helps. */
export function outcomeUnknown(cause: ConnectError): ConnectError {
  const error = new ConnectError('The connection broke.', Code.DeadlineExceeded, undefined, undefined, cause)
  unknownOutcomes.add(error)
  return error
}

/** Whether the connection broke under a call, which ends it before its deadline. */
export function isOutcomeUnknown(error: unknown): boolean {
  return unknownOutcomes.has(error as object)
}

/** Certainly not done, and not said by the peer itself, which then also says when it is worth another try. */
function isTransient(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.Unavailable && retryAfterSeconds(error) === undefined
}
