/** The short way to session-svc: one stream to each instance, in which a batch costs a fraction of what a call does. */

import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect'
import { retryAfterSeconds } from '#common/errors.ts'
import { childSpan, type Trace, traceparent } from '#common/trace.ts'
import { SessionService, type ValidateSessionResponse } from '#gen/session/v1/session_pb.ts'

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
   * stream ends or falls silent: then nobody knows why, and a call finds out. Rejects with what session-svc itself says.
   */
  ask(batch: Batch): Promise<ValidateSessionResponse[] | undefined> | undefined
  close(): void
}

// Hundreds of times what an answer takes, and less than half of what a request may take.
const silentMs = 400
const openWithinMs = 2000
const lookMs = 100
// One that is silent would take as long again, one that does not know the method will not learn it.
const [pauseMs, silentPauseMs, unknownPauseMs] = [1000, 5000, 60_000]

interface Unanswered {
  sentAt: number
  resolve(results: ValidateSessionResponse[] | undefined): void
  reject(error: unknown): void
}

interface Stream {
  isOpen(): boolean
  load(): number
  ask: NonNullable<ValidationStreams['ask']>
  close(): void
}

/** The streams to instances; each is opened when there is something to ask, and anew some time after it ended. */
export function openValidationStreams(instances: Transport[]): ValidationStreams {
  const ways = instances.map((transport) => ({
    client: createClient(SessionService, transport),
    stream: undefined as Stream | undefined,
    openAfter: 0
  }))

  function reopen(): void {
    const now = performance.now()
    for (const way of ways) {
      if (way.stream !== undefined || now < way.openAfter) continue
      way.stream = openStream(way.client, (ms) => {
        way.stream = undefined
        way.openAfter = performance.now() + ms
      })
    }
  }

  return {
    ask(batch) {
      reopen()
      const open = ways.flatMap(({ stream }) => (stream?.isOpen() ? [stream] : []))
      return open.sort((a, b) => a.load() - b.load())[0]?.ask(batch)
    },
    close() {
      for (const way of ways) {
        way.openAfter = Number.POSITIVE_INFINITY
        way.stream?.close()
      }
    }
  }
}

/** @param ended is told when it has, and how long to wait before another is opened */
function openStream(
  client: Pick<Client<typeof SessionService>, 'streamValidations'>,
  ended: (pauseMs: number) => void
): Stream {
  const unanswered: Unanswered[] = []
  const end = new AbortController()
  const openedAt = performance.now()
  const requests = messageQueue<{ tokens: string[]; traceIds: string[]; traceparent: string }>()
  let isOpen = false
  let isOver = false
  let silent = false
  const watch = setInterval(() => {
    const now = performance.now()
    const [oldest] = unanswered
    silent = oldest ? now - oldest.sentAt > silentMs : !isOpen && now - openedAt > openWithinMs
    if (silent) end.abort()
  }, lookMs).unref()

  async function run(): Promise<void> {
    // It lasts as long as the two services do.
    const options = { signal: end.signal, timeoutMs: 0 }
    for await (const { results } of client.streamValidations(requests.messages(), options)) {
      if (isOpen) unanswered.shift()?.resolve(results)
      isOpen = true
    }
    throw new ConnectError('The stream ended.', Code.Unavailable)
  }

  run().catch((error) => {
    clearInterval(watch)
    isOver = true
    requests.end()
    const { code } = ConnectError.from(error)
    ended(code === Code.Unimplemented ? unknownPauseMs : silent ? silentPauseMs : pauseMs)
    const [first, ...others] = unanswered
    if (isSaid(error)) first?.reject(error)
    else first?.resolve(undefined)
    for (const each of others) each.resolve(undefined)
  })

  return {
    isOpen: () => isOpen && !isOver,
    load: () => unanswered.length,
    ask({ tokens, traceIds, trace }) {
      return new Promise((resolve, reject) => {
        unanswered.push({ sentAt: performance.now(), resolve, reject })
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
