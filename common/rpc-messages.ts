/** Streams in which each message is answered by one: every pair is what a call would be, for the log and the metrics. */

import { Code, ConnectError } from '@connectrpc/connect'

/** Told of a message when its answer is there, or when none comes any more, and why. */
export type MessageTold = (startedAt: number, error?: ConnectError) => void

/** A stream that is watched. */
export interface PairedMessages {
  sent<T>(messages: AsyncIterable<T>): AsyncIterable<T>
  answers<T>(messages: AsyncIterable<T>): AsyncIterable<T>
}

/**
 * @param told is given the beginning of each message, as `performance.now()` counts
 * @param truth says what an error of the stream means
 */
export function pairMessages(told: MessageTold, truth: (thrown: unknown) => ConnectError): PairedMessages {
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
        throw error.code === Code.Internal ? new ConnectError('Internal error.', Code.Internal) : error
      } finally {
        for (const startedAt of unanswered) told(startedAt, error)
      }
    }
  }
}
