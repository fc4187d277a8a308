/**
 * Streams to each instance of session-svc for batches of validations. Against a unary call for each batch, a validation
 * takes 15 % (128 connections) to 22 % (2,000 requests a second) less CPU.
 */

import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect'
import { deadlineExceeded } from '#common/deadline.ts'
import { retryAfterSeconds } from '#common/errors.ts'
import { childSpan, type Trace, traceparent } from '#common/trace.ts'
import { SessionService, type Validation as ValidationMessage } from '#gen/session/v1/session_pb.ts'
import { fromMessage, type Validation } from './validation-answers.ts'

/** Tokens that are asked for together. */
export interface Batch {
  tokens: string[]
  /** Of the requests that they came with; none for a batch of one. */
  traceIds: string[]
  trace: Trace
}

/** Streams to all instances. */
export interface ValidationStreams {
  /**
   * Sends a batch through the stream that has the least to do; nothing if none is open. Resolves to nothing when the
   * stream ends, falls silent or answers with more or less than was asked: then nobody knows why, and a call finds out.
   * Rejects with what session-svc itself says.
   */
  ask(batch: Batch): Promise<Validation[] | undefined> | undefined
  close(): void
}

// The batches of a stream are answered one after the other, so there are as many streams as batches are under way.
const streamsEach = 2
const openWithinMs = 2000
const lookMs = 100
const pauseMs = 1000
// One that is silent would take as long again.
const [silentPauseMs, longestPauseMs] = [5000, 300_000]
// One that does not know the method will not learn it.
const unknownPauseMs = 60_000

/** Why a stream is over: it fell silent, the instance knows no streams, or anything else. */
type End = 'silent' | 'unknown' | 'ended'

interface Unanswered {
  sentAt: number
  answered(validations: ValidationMessage[]): void
  resolve(validations: Validation[] | undefined): void
  reject(error: unknown): void
}

interface Stream {
  isOpen(): boolean
  load(): number
  ask: NonNullable<ValidationStreams['ask']>
  close(): void
}

/** A place for a stream to an instance. */
interface Way {
  client: Client<typeof SessionService>
  stream: Stream | undefined
  openAfter: number
  /** How many streams in a row fell silent before they had answered anything. */
  silences: number
}

/**
 * The streams to instances; each is opened when there is something to ask, and anew some time after it ended.
 *
 * @param silentMs a stream without an answer for so long is left, while there is still time for a call
 */
export function openValidationStreams(
  instances: Transport[],
  silentMs: number,
  count = streamsEach
): ValidationStreams {
  let closed = false
  let turn = 0
  const ways = instances.map((transport) => {
    const client = createClient(SessionService, transport)
    return Array.from({ length: count }, (): Way => ({ client, stream: undefined, openAfter: 0, silences: 0 }))
  })

  function reopen(): void {
    const now = performance.now()
    for (const way of ways.flat()) {
      if (closed || way.stream !== undefined || now < way.openAfter) continue
      way.stream = openStream(way.client, silentMs, (end, hasAnswered) => {
        way.stream = undefined
        way.silences = end === 'silent' && !hasAnswered ? way.silences + 1 : 0
        way.openAfter = performance.now() + pauseAfter(end, way.silences)
      })
    }
  }

  /** Of the instance that has the least to do, in turn where it is the same. */
  function leastLoaded(): Stream | undefined {
    turn = (turn + 1) % ways.length
    const inTurn = [...ways.slice(turn), ...ways.slice(0, turn)]
      .map((each) => each.flatMap(({ stream }) => (stream?.isOpen() ? [stream] : [])))
      .filter((open) => open.length > 0)
    const loadOf = (open: Stream[]) => open.reduce((sum, stream) => sum + stream.load(), 0)
    const [instance = []] = inTurn.sort((a, b) => loadOf(a) - loadOf(b))
    return instance.sort((a, b) => a.load() - b.load())[0]
  }

  return {
    ask(batch) {
      reopen()
      return leastLoaded()?.ask(batch)
    },
    close() {
      closed = true
      for (const { stream } of ways.flat()) stream?.close()
    }
  }
}

function pauseAfter(end: End, silences: number): number {
  if (end === 'unknown') return unknownPauseMs
  if (end === 'ended') return pauseMs
  return Math.min(silentPauseMs * 2 ** Math.min(silences, 10), longestPauseMs)
}

/** @param ended is told how it ended, and whether it has answered anything before */
function openStream(
  client: Pick<Client<typeof SessionService>, 'streamValidations'>,
  silentMs: number,
  ended: (end: End, hasAnswered: boolean) => void
): Stream {
  const unanswered: Unanswered[] = []
  const end = new AbortController()
  const requests = messageQueue<{ tokens: string[]; traceIds: string[]; traceparent: string }>()
  /** When the last answer came, of which the first is empty and says that the stream is open. */
  let answeredAt = performance.now()
  let answers = 0
  let silent = false
  const watch = setInterval(() => {
    const now = performance.now()
    const [oldest] = unanswered
    if (answers === 0) silent = now - answeredAt > openWithinMs
    else if (oldest !== undefined) silent = now - Math.max(oldest.sentAt, answeredAt) > silentMs
    if (silent) end.abort(deadlineExceeded())
  }, lookMs).unref()

  async function run(): Promise<void> {
    // It lasts as long as the two services do.
    const options = { signal: end.signal, timeoutMs: 0 }
    for await (const { validations } of client.streamValidations(requests.messages(), options)) {
      answeredAt = performance.now()
      if (answers > 0) unanswered.shift()?.answered(validations)
      answers += 1
    }
    throw new ConnectError('The stream ended.', Code.Unavailable)
  }

  run().catch((error) => {
    clearInterval(watch)
    requests.end()
    const isUnknown = ConnectError.from(error).code === Code.Unimplemented
    ended(isUnknown ? 'unknown' : silent ? 'silent' : 'ended', answers > 1)
    const [first, ...others] = unanswered
    if (!silent && isSaid(error)) first?.reject(error)
    else first?.resolve(undefined)
    for (const each of others) each.resolve(undefined)
  })

  return {
    isOpen: () => answers > 0,
    load: () => unanswered.length,
    ask({ tokens, traceIds, trace }) {
      return new Promise((resolve, reject) => {
        const answered = (validations: ValidationMessage[]) =>
          resolve(validations.length === tokens.length ? validations.map(fromMessage) : undefined)
        unanswered.push({ sentAt: performance.now(), answered, resolve, reject })
        requests.put({ tokens, traceIds, traceparent: traceparent(childSpan(trace)) })
      })
    },
    close: () => end.abort()
  }
}

/** Whether session-svc said this of a batch. A call would hear the same, and be no answer to it either. */
function isSaid(thrown: unknown): boolean {
  const error = ConnectError.from(thrown)
  return error.code === Code.DeadlineExceeded || retryAfterSeconds(error) !== undefined
}

/** Messages that are put in one by one, for whoever takes them. */
function messageQueue<T>(): { put(message: T): void; end(): void; messages(): AsyncIterable<T> } {
  const waiting: T[] = []
  let ended = false
  let wake = () => {}
  return {
    put(message) {
      waiting.push(message)
      wake()
    },
    end() {
      ended = true
      wake()
    },
    async *messages() {
      for (;;) {
        for (const message of waiting.splice(0)) yield message
        if (ended) return
        if (waiting.length > 0) continue
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  }
}
