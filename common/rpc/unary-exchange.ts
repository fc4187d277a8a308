/** The messages of unary calls on an HTTP/2 stream. */

import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type ServerHttp2Stream
} from 'node:http2'
import { Code, ConnectError } from '@connectrpc/connect'
import { isUnprocessed } from '#common/rpc/client/http2-guard.ts'
import { streamRefused } from '#common/rpc/client/retry.ts'

interface RawResponse {
  headers: IncomingHttpHeaders
  content: Buffer
}

/**
 * Sends a request body and reads the response. One abort listener serves the opening and the response: a wait for the
 * opening in a function of its own costs a call 7 to 10 µs of CPU (`make bench ROWS=unary-call`). All listeners are
 * removed when the call settles: V8 retains the stream, and the objects of its listeners, for several garbage
 * collections, which costs a batch of 49 tokens 200 µs.
 */
export function exchange(
  opening: Promise<ClientHttp2Stream>,
  body: Uint8Array,
  readMaxBytes: number,
  signal: AbortSignal
): Promise<RawResponse> {
  return new Promise((resolve, reject) => {
    let stream: ClientHttp2Stream | undefined
    let session: ClientHttp2Session | undefined
    let headers: IncomingHttpHeaders | undefined
    let isSettled = false
    const content = collect(readMaxBytes)

    function settle(): void {
      isSettled = true
      signal.removeEventListener('abort', onAbort)
      // Without a listener, a later error would end the process.
      stream?.on('error', ignore)
      stream
        ?.off('response', onResponse)
        .off('data', onData)
        .off('end', onEnd)
        .off('close', onClose)
        .off('error', onError)
    }
    function fail(error: unknown): void {
      settle()
      stream?.close(constants.NGHTTP2_CANCEL)
      reject(error)
    }
    const onAbort = () => fail(signal.reason)
    // Node.js destroys all streams of a session with one error, which does not show whether the server processed this stream.
    const onError = (error: unknown) =>
      fail(isRefusal(error) || (session && isUnprocessed(session, stream?.id)) ? streamRefused(error) : error)
    const onClose = () => onError(streamClosed(stream?.rstCode))
    const onResponse = (received: IncomingHttpHeaders) => {
      headers = received
    }
    const onData = (chunk: Buffer) => {
      if (!content.add(chunk)) fail(tooLong('response', readMaxBytes))
    }
    function onEnd(): void {
      // A reset also emits `end`, followed by `close`.
      if (headers === undefined || stream?.rstCode !== constants.NGHTTP2_NO_ERROR) return
      settle()
      resolve({ headers, content: content.all() })
    }

    signal.addEventListener('abort', onAbort)
    opening.then(
      (opened) => {
        stream = opened
        session = opened.session as ClientHttp2Session | undefined
        if (isSettled) {
          opened.on('error', ignore).close(constants.NGHTTP2_CANCEL)
          return
        }
        opened.on('error', onError).on('response', onResponse).on('data', onData).on('end', onEnd).on('close', onClose)
        opened.end(body)
      },
      (error) => {
        if (!isSettled) fail(error)
      }
    )
  })
}

/** Whether the peer refused this stream; after a GOAWAY with the same code, the error is that of the session. */
function isRefusal(error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'ERR_HTTP2_STREAM_ERROR' && /REFUSED_STREAM/.test(message)
}

/** For errors of a stream after its call has settled. */
const ignore = () => {}

/** Collects the chunks of a message. */
function collect(maxBytes: number) {
  let chunks: Buffer[] = []
  let bytes = 0
  return {
    /** @returns whether the message is within the limit */
    add(chunk: Buffer): boolean {
      bytes += chunk.byteLength
      chunks.push(chunk)
      return bytes <= maxBytes
    },
    /** The message. Releases the chunks. */
    all(): Buffer {
      const [first, ...others] = chunks
      chunks = []
      return first && others.length === 0 ? first : Buffer.concat(first ? [first, ...others] : [])
    }
  }
}

function tooLong(what: 'response' | 'message', maxBytes: number): ConnectError {
  return new ConnectError(`The ${what} is longer than ${maxBytes} bytes.`, Code.ResourceExhausted)
}

/** The error of a stream that closed without a complete response, with the code that Node.js uses for a reset. */
function streamClosed(rstCode: number | undefined): Error {
  const error = new Error(`The HTTP/2 stream closed without a response (code ${rstCode}).`)
  return Object.assign(error, { code: 'ERR_HTTP2_STREAM_ERROR' })
}

/** Reads the message of a call. Rejects if it is too long, or if the signal aborts. Removes its listeners, as `exchange` does. */
export async function readBody(stream: ServerHttp2Stream, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const content = collect(maxBytes)
    function settle(): void {
      signal.removeEventListener('abort', onAbort)
      stream.off('data', onData).off('end', onEnd)
    }
    function fail(error: unknown): void {
      settle()
      stream.pause()
      reject(error)
    }
    const onAbort = () => fail(signal.reason)
    const onData = (chunk: Buffer) => {
      if (!content.add(chunk)) fail(tooLong('message', maxBytes))
    }
    function onEnd(): void {
      // A reset also emits `end`, followed by `close`, which aborts the signal.
      if (stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return
      settle()
      resolve(content.all())
    }
    signal.addEventListener('abort', onAbort)
    stream.on('data', onData).on('end', onEnd)
  })
}

/** HTTP/2 headers as web headers, without the pseudo-headers. */
export function webHeaders(headers: IncomingHttpHeaders): Headers {
  const web = new Headers()
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(':')) continue
    for (const each of Array.isArray(value) ? value : [value]) web.append(name, each)
  }
  return web
}
