/** Asks session-svc whose tokens are, many together: one half is asked for while the other is answered. */

import { type Client, Code, ConnectError } from '@connectrpc/connect'
import { deadlineExceeded } from '#common/deadline.ts'
import { unavailable } from '#common/errors.ts'
import { onwards } from '#common/rpc-context.ts'
import { newTrace, type Trace } from '#common/trace.ts'
import type { SessionService } from '#gen/session/v1/session_pb.ts'
import { fromResponse, type Validation } from './validation-answers.ts'
import type { Batch, ValidationStreams } from './validation-streams.ts'

/** One token, and the request that it came with. */
export interface Question {
  token: string
  trace: Trace
  /** When its answer is of no use any more, as `performance.now()` counts. */
  endsAt: number
  /** Whether nobody waits for the answer any more. */
  isGone(): boolean
}

/** Resolves to what session-svc says of a token; rejects at the latest when the question ends. */
export type Validate = (question: Question) => Promise<Validation>

interface Waiting extends Question {
  resolve(validation: Validation): void
  reject(error: unknown): void
  /** An error costs more than an answer, so none is made for a question that is over. */
  isOver: boolean
}

// What ValidateSessions takes.
const maxTokens = 256
// While these are under way the next batch grows: the busier session-svc is, the less a token costs it.
const maxBatchesInFlight = 2
// Fewer are not asked for in halves: what a second batch costs by itself would be more than what it saves.
const smallestHalf = 16
const maxWaiting = 10_000
// Waits end in steps, by a look at those that are open: a timer for each would cost more than the rest of a question, and
// a map or a set that questions come into and leave keeps many of them from being collected while they are young.
const stepMs = 10

/** A batch that session-svc has answered, before those who asked know. */
interface Answered {
  batch: Waiting[]
  validations: Validation[]
}

/**
 * A bad token never fails its neighbours, and each question ends for itself.
 *
 * Clients ask again when they are answered. Were all asked for together, the gateway would do nothing until session-svc has
 * answered, and then session-svc nothing until all have asked again. So a batch is half of what is open at most, unless
 * that is few, and the event loop turns after each batch that is asked for or answered: what was asked leaves first, and once
 * those who were answered have asked again, they are asked for before the other half is answered.
 *
 * @param streams are taken where they are open; whatever keeps them from answering is found out by a call
 */
export function gatherValidations(
  client: Pick<Client<typeof SessionService>, 'validateSessions'>,
  streams: Pick<ValidationStreams, 'ask'>
): Validate {
  let waiting: Waiting[] = []
  let inFlight: Waiting[][] = []
  let answered: Answered[] = []
  let scheduled = false
  let isWatched = false

  const canAsk = () => waiting.length > 0 && inFlight.length < maxBatchesInFlight

  /** All questions that have no answer yet, by batch. */
  const openBatches = () => [...inFlight, ...answered.map(({ batch }) => batch), waiting]

  function schedule(): void {
    if (scheduled || !(canAsk() || answered.length > 0)) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      takeTurn()
      schedule()
    })
  }

  function takeTurn(): void {
    const open = openBatches().reduce((sum, { length }) => sum + length, 0)
    const half = Math.max(smallestHalf, Math.ceil(open / 2))
    const isAnswerDue = answered.length >= maxBatchesInFlight || (answered.length > 0 && waiting.length < half)
    if (canAsk() && !isAnswerDue) void ask(takeBatch(Math.min(half, maxTokens)))
    else answerOne()
  }

  function answerOne(): void {
    const [first, ...others] = answered
    answered = others
    for (const [index, each] of first?.batch.entries() ?? []) {
      each.isOver = true
      each.resolve(first?.validations[index])
    }
  }

  function takeBatch(size: number): Waiting[] {
    const now = performance.now()
    const batch: Waiting[] = []
    let taken = 0
    for (const each of waiting) {
      if (batch.length === size) break
      taken += 1
      if (each.isGone()) fail(each, new ConnectError('The client went away.', Code.Canceled))
      else if (each.endsAt <= now) fail(each, deadlineExceeded())
      else batch.push(each)
    }
    waiting = waiting.slice(taken)
    return batch
  }

  async function ask(batch: Waiting[]): Promise<void> {
    const [first] = batch
    if (first === undefined) return
    inFlight.push(batch)
    try {
      // What is asked for one request belongs to its trace; what is asked for many has a trace of its own, and names theirs.
      const isAlone = batch.length === 1
      const tokens = batch.map(({ token }) => token)
      const traceIds = isAlone ? [] : batch.map(({ trace }) => trace.traceId)
      const trace = isAlone ? first.trace : newTrace()
      const streamed = await streams.ask({ tokens, traceIds, trace })
      const validations = streamed ?? (await call(batch, { tokens, traceIds, trace }))
      answered.push({ batch, validations })
    } catch (error) {
      for (const each of batch) fail(each, error)
    } finally {
      inFlight = inFlight.filter((each) => each !== batch)
      // With nothing to ask and nothing under way, there is no other half that a turn could be for.
      if (waiting.length === 0 && inFlight.length === 0) answerOne()
      schedule()
    }
  }

  async function call(batch: Waiting[], { tokens, traceIds, trace }: Batch): Promise<Validation[]> {
    const endsAt = batch.reduce((latest, each) => Math.max(latest, each.endsAt), 0)
    if (endsAt <= performance.now()) throw deadlineExceeded()
    const options = onwards({ trace, timeoutMs: () => endsAt - performance.now() })
    const { results } = await client.validateSessions({ tokens, traceIds }, options)
    return results.map(fromResponse)
  }

  /** Rejects what has no answer when its time is over. */
  function endInTime(): void {
    const now = performance.now()
    const over = openBatches()
      .flat()
      .filter(({ endsAt, isOver }) => endsAt <= now && !isOver)
    for (const each of over) fail(each, deadlineExceeded())
    if (over.length > 0) waiting = waiting.filter(({ isOver }) => !isOver)
    isWatched = inFlight.length + answered.length + waiting.length > 0
    if (isWatched) setTimeout(endInTime, stepMs)
  }

  return (question) =>
    new Promise((resolve, reject) => {
      if (waiting.length >= maxWaiting) {
        reject(unavailable('Too many requests wait already.'))
        return
      }
      waiting.push({ ...question, resolve, reject, isOver: false })
      if (!isWatched) {
        isWatched = true
        setTimeout(endInTime, stepMs)
      }
      schedule()
    })
}

function fail(question: Waiting, error: unknown): void {
  question.isOver = true
  question.reject(error)
}
