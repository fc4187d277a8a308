/** Validates session tokens in batches: tokens that arrive in one turn of the event loop, or within 1 ms, share a call. */

import { unavailable } from '#common/errors/connect-errors.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import { clientClosed } from '../problem.ts'
import { createArrivalRate } from './arrival-rate.ts'
import { createDeadlineTimer, createFlushTimer } from './batch-timers.ts'
import { unknown, type ValidationOutcome } from './outcome.ts'
import { callSessionSvc, type ValidationClient, type ValidationRequest } from './validation-call.ts'

/** Validates a token; rejects at the deadline of its request at the latest. */
export type Validate = (request: ValidationRequest) => Promise<ValidationOutcome>

interface PendingValidation extends ValidationRequest {
  resolve(outcome: ValidationOutcome): void
  reject(error: unknown): void
  isSettled: boolean
}

// The limit of ValidateSessions.
const maxTokens = 256
// While two batches are in flight the next one grows: the busier session-svc is, the less a token costs it.
const maxBatchesInFlight = 2
const maxWaiting = 10_000
// A batch of fewer than 8 tokens waits for 1 ms if, at the last measured rate, another token arrives in that time. At
// 2,000 tokens a second this saves 29 % of the CPU (`make bench ROWS=open-loop`).
const lingerBelow = 8
const lingerMs = 1

/**
 * Each token has its own outcome and its own deadline: no token affects another one of its batch.
 *
 * @param now the clock of the deadlines, in milliseconds
 */
export function createValidationBatcher(client: ValidationClient, now = () => performance.now()): Validate {
  let waiting: PendingValidation[] = []
  const inFlight = new Set<PendingValidation[]>()
  const arrivals = createArrivalRate(now)
  const flushTimer = createFlushTimer(flushNext)
  const deadlineTimer = createDeadlineTimer(rejectExpired)

  function scheduleFlush(): void {
    if (waiting.length === 0 || inFlight.size >= maxBatchesInFlight) return
    if (waiting.length < lingerBelow && arrivals.perMs() * lingerMs >= 1) flushTimer.within(lingerMs)
    else flushTimer.soon()
  }

  function flushNext(): void {
    if (inFlight.size < maxBatchesInFlight) {
      const taken = waiting.slice(0, maxTokens)
      waiting = waiting.slice(maxTokens)
      const [first, ...others] = taken.filter((each) => isWanted(each, now()))
      if (first !== undefined) void deliverNext([first, ...others])
    }
    scheduleFlush()
  }

  async function deliverNext(batch: [PendingValidation, ...PendingValidation[]]): Promise<void> {
    inFlight.add(batch)
    try {
      const outcomes = await callSessionSvc(client, batch, now)
      for (const [index, each] of batch.entries()) {
        each.isSettled = true
        each.resolve(outcomes[index] ?? unknown)
      }
    } catch (error) {
      for (const each of batch) rejectPending(each, error)
    } finally {
      inFlight.delete(batch)
      scheduleFlush()
    }
  }

  function rejectExpired(): boolean {
    const time = now()
    const isExpired = ({ endsAt, isSettled }: PendingValidation) => endsAt <= time && !isSettled
    for (const each of [...inFlight, waiting].flat().filter(isExpired)) rejectPending(each, deadlineExceeded())
    waiting = waiting.filter(({ isSettled }) => !isSettled)
    return inFlight.size + waiting.length > 0
  }

  return (request) =>
    new Promise((resolve, reject) => {
      if (waiting.length >= maxWaiting) {
        reject(unavailable('Too many validations are pending.'))
        return
      }
      waiting.push({ ...request, resolve, reject, isSettled: false })
      arrivals.count()
      deadlineTimer.start()
      scheduleFlush()
    })
}

/** Whether a validation is worth a call; rejects it otherwise. */
function isWanted(pending: PendingValidation, time: number): boolean {
  if (pending.isAborted()) rejectPending(pending, clientClosed())
  else if (pending.endsAt <= time) rejectPending(pending, deadlineExceeded())
  return !pending.isSettled
}

function rejectPending(pending: PendingValidation, error: unknown): void {
  pending.isSettled = true
  pending.reject(error)
}
