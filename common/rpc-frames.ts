/**
 * Has the end of a message travel with the message (END_STREAM, RFC 9113, 6.1), where a call of the Connect protocol is
 * one message there and one back. Otherwise both sides would write and read an empty frame more each way.
 */

import type { ClientHttp2Stream, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2'

/** Of a message that is all there is, and no error. */
const unaryType = 'application/proto'

/**
 * Of a request: connect-node waits until a message is written before it ends the stream. That a write failed it hears
 * as an error of the stream.
 */
export function endRequestWithMessage(stream: ClientHttp2Stream, headers: OutgoingHttpHeaders): void {
  if (headers['content-type'] !== unaryType) return
  const write: (chunk: unknown, encoding: BufferEncoding, written?: () => void) => boolean = stream.write.bind(stream)
  Object.assign(stream, {
    write(chunk: unknown, encoding: BufferEncoding, written: () => void): boolean {
      // Whoever writes to what is over is told so here, and nowhere else.
      if (stream.destroyed) return write(chunk, encoding, written)
      queueMicrotask(written)
      return write(chunk, encoding)
    }
  })
}

/**
 * Of an answer: Node.js would hold it back for trailers, which the Connect protocol does not have. Refusals are left as
 * they are: they may come before the request has been read.
 */
export function endAnswerWithMessage(stream: ServerHttp2Stream): void {
  const respond = stream.respond.bind(stream)
  stream.respond = (headers, options) => {
    const { 'content-type': type } = headers as OutgoingHttpHeaders
    respond(headers, type === unaryType ? { ...options, waitForTrailers: false } : options)
  }
}
