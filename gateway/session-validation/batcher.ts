/** Validates session tokens in batches: those that come within a turn of the event loop, or a millisecond, share a call. */

import { type Client, Code, ConnectError } from '@connectrpc/connect'
import { unavailable } from '#common/errors/connect-errors.ts'
import { newTrace, type Trace } from '#common/ops/trace.ts'
import { onwards } from '#common/rpc/call-context.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import type { SessionService } from '#gen/session/v1/session_pb.ts'
import { fromMessage, fromResponse, type ValidationOutcome } from './outcome.ts'

/** One token, and the request that it came with. */
export interface ValidationRequest {
  token: string
  trace: Trace
  /** When its answer is of no use any more, as `performance.now()` counts. */
  endsAt: number
  /** Whether the client has disconnected. */
  isAborted(): boolean
}

/** Resolves to what session-svc says of a token; rejects at the latest when the question ends. */
export type Validate = (question: ValidationRequest) => Promise<ValidationOutcome>

interface Pending extends ValidationRequest {
  resolve(validation: ValidationOutcome): void
  reject(error: unknown): void
  isSettled: boolean
}

// What ValidateSessions takes.
const maxTokens = 256
// While these are in flight the next batch grows: the busier session-svc is, the less a token costs it.
const maxBatchesInFlight = 2
const maxWaiting = 10_000
// One timer for all deadlines: a timer for each would cost more than the other work of a question.
const deadlineStepMs = 10
// A batch that is smaller waits so long if the rate of the last window lets expect one more question. At 2,000 questions
// a second that saves 29 % of the CPU (`make bench ROWS=open-loop`).
const [lingerBelow, lingerMs] = [8, 1]
const rateWindowMs = 10

/** A bad token never fails its neighbours, and each question has its own deadline. */
export function createValidationBatcher(client: Pick<Client<typeof SessionService>, 'validateSessions'>): Validate {
  let waiting: Pending[] = []
  const inFlight = new Set<Pending[]>()
  let isScheduled = false
  let linger: NodeJS.Timeout | undefined
  let isWatched = false
  const arrivals = arrivalRate()

  function schedule(): void {
    if (isScheduled || waiting.length === 0 || inFlight.size >= maxBatchesInFlight) return
    const lingers = waiting.length < lingerBelow && arrivals.perMs() * lingerMs >= 1
    if (lingers) linger ??= setTimeout(flush, lingerMs)
    else {
      isScheduled = true
      setImmediate(flush)
    }
  }

  function flush(): void {
    clearTimeout(linger)
    linger = undefined
    isScheduled = false
    if (inFlight.size < maxBatchesInFlight) void validate(takeBatch())
    schedule()
  }

  function takeBatch(): Pending[] {
    const now = performance.now()
    const taken = waiting.slice(0, maxTokens)
    waiting = waiting.slice(maxTokens)
    return taken.filter((each) => {
      if (each.isAborted()) fail(each, new ConnectError('The client went away.', Code.Canceled))
      else if (each.endsAt <= now) fail(each, deadlineExceeded())
      return !each.isSettled
    })
  }

  async function validate(batch: Pending[]): Promise<void> {
    const [first] = batch
    if (first === undefined) return
    inFlight.add(batch)
    try {
      const validations = await call(batch, first.trace)
      for (const [index, each] of batch.entries()) {
        each.isSettled = true
        each.resolve(validations[index])
      }
    } catch (error) {
      for (const each of batch) fail(each, error)
    } finally {
      inFlight.delete(batch)
      schedule()
    }
  }

  /** A batch of one belongs to the trace of its request; a larger one has its own, and names theirs. */
  async function call(batch: Pending[], firstTrace: Trace): Promise<ValidationOutcome[]> {
    const isAlone = batch.length === 1
    const endsAt = batch.reduce((latest, each) => Math.max(latest, each.endsAt), 0)
    const trace = isAlone ? firstTrace : newTrace()
    const options = onwards({ trace, timeoutMs: () => endsAt - performance.now() })
    const request = {
      tokens: batch.map(({ token }) => token),
      traceIds: isAlone ? [] : batch.map(({ trace: { traceId } }) => traceId),
      flat: true
    }
    const { results, validations } = await client.validateSessions(request, options)
    return validations.length > 0 ? validations.map(fromMessage) : results.map(fromResponse)
  }

  /** Rejects the questions whose time is over. */
  function enforceDeadlines(): void {
    const now = performance.now()
    const isOver = ({ endsAt, isSettled }: Pending) => endsAt <= now && !isSettled
    for (const each of [...inFlight, waiting].flat().filter(isOver)) fail(each, deadlineExceeded())
    waiting = waiting.filter(({ isSettled }) => !isSettled)
    isWatched = inFlight.size + waiting.length > 0
    if (isWatched) setTimeout(enforceDeadlines, deadlineStepMs)
  }

  return (question) =>
    new Promise((resolve, reject) => {
      if (waiting.length >= maxWaiting) {
        reject(unavailable('Too many requests wait already.'))
        return
      }
      waiting.push({ ...question, resolve, reject, isSettled: false })
      arrivals.count()
      if (!isWatched) {
        isWatched = true
        setTimeout(enforceDeadlines, deadlineStepMs)
      }
      schedule()
    })
}

function fail(question: Pending, error: unknown): void {
  question.isSettled = true
  question.reject(error)
}

/** How many questions came a millisecond in the last window that is complete. */
function arrivalRate() {
  let startedAt = 0
  let counted = 0
  let perMs = 0
  return {
    count(): void {
      counted += 1
      const passedMs = performance.now() - startedAt
      if (passedMs < rateWindowMs) return
      perMs = counted / passedMs
      counted = 0
      startedAt += passedMs
    },
    perMs: () => perMs
  }
}
