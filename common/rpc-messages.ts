/** Streams in which each message is answered by one: every pair is what a call would be, for the log and the metrics. */

import { Code, ConnectError, type StreamRequest, type StreamResponse, type UnaryResponse } from '@connectrpc/connect'

/** What becomes of the messages of a stream, and of their errors. */
export interface MessageWatch {
  /** Told of a message when its answer is there, or when none comes any more, and why; `startedAt` as `performance.now()` counts. */
  told(startedAt: number, error?: ConnectError): void
  /** What an error of the stream means. */
  truth(thrown: unknown): ConnectError
  /** What the reader of the answers gets of it; without this, the error itself. */
  shown?(error: ConnectError): ConnectError
}

/** Passes a stream on, and tells of each of its messages; of itself only if it is refused. */
export async function watchStream(
  request: StreamRequest,
  next: (request: StreamRequest) => Promise<UnaryResponse | StreamResponse>,
  watch: MessageWatch
): Promise<StreamResponse> {
  const { told, truth, shown } = watch
  const openedAt = performance.now()
  const pairs = pairMessages(watch)
  try {
    const response = (await next({ ...request, message: pairs.sent(request.message) })) as StreamResponse
    return { ...response, message: pairs.answers(response.message) }
  } catch (thrown) {
    const error = truth(thrown)
    told(openedAt, error)
    throw shown ? shown(error) : thrown
  }
}

interface Pairs {
  sent<T>(messages: AsyncIterable<T>): AsyncIterable<T>
  answers<T>(messages: AsyncIterable<T>): AsyncIterable<T>
}

function pairMessages({ told, truth, shown }: MessageWatch): Pairs {
  const unanswered: number[] = []
  return {
    async *sent(messages) {
      for await (const message of messages) {
        unanswered.push(performance.now())
        yield message
      }
    },
    async *answers(messages) {
      let error = new ConnectError('The stream ended.', Code.Canceled)
      try {
        for await (const message of messages) {
          const startedAt = unanswered.shift()
          // An answer to nothing only says that the stream is open.
          if (startedAt !== undefined) told(startedAt)
          yield message
        }
      } catch (thrown) {
        error = truth(thrown)
        throw shown ? shown(error) : thrown
      } finally {
        for (const startedAt of unanswered) told(startedAt, error)
      }
    }
  }
}
