/** Answers requests that are not well-formed HTTP, which reach no route, on the bare socket. */

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Code, ConnectError } from '@connectrpc/connect'
import { newTrace } from '#common/ops/trace.ts'
import { answerTo, HttpRefusal } from '../problem.ts'
import { commonHeaders } from '../request-context.ts'
import type { ErrorHandling } from './error-responses.ts'

const refusals: Record<string, Error> = {
  HPE_HEADER_OVERFLOW: new HttpRefusal(431),
  ERR_HTTP_REQUEST_TIMEOUT: new HttpRefusal(408)
}
const malformed = new ConnectError('The request is not well-formed HTTP.', Code.InvalidArgument)

/**
 * The error can occur in the middle of a body, while a handler processes the request. This function never throws: an
 * exception here would end the process.
 *
 * `_httpMessage` is internal to Node.js 24, which answers client errors by itself with the same check. No upstream issue
 * known. Remove when `clientError` reports the response that has started.
 *
 * @param isAnswered whether the request that is arriving has its response already
 */
export function answerClientError(
  error: Error & { code?: string },
  socket: Socket & { _httpMessage?: ServerResponse },
  isAnswered: boolean,
  errors: Pick<ErrorHandling, 'record' | 'log'>
): void {
  // A client would read a second response as a part of the first one.
  if (error.code === 'ECONNRESET' || !socket.writable || socket._httpMessage?.headersSent || isAnswered) {
    socket.destroy()
    return
  }
  const { status, title, headers, body } = refuse(error, socket, errors)
  const lines = Object.entries({ ...headers, connection: 'close' }).map(([name, value]) => `${name}: ${value}`)
  socket.end(`HTTP/1.1 ${status} ${title}\r\n${lines.join('\r\n')}\r\n\r\n${body}`)
}

/** Answers an HTTP/2 request that the parser of HTTP/1.1 would reject. */
export function answerMalformed(response: ServerResponse, errors: Pick<ErrorHandling, 'record' | 'log'>): void {
  const { status, headers, body } = refuse(malformed, response.socket as Socket, errors)
  response.writeHead(status, headers).end(body)
}

/** Counts and logs the refusal of a request, and builds its response. */
function refuse(error: Error & { code?: unknown }, socket: Socket, errors: Pick<ErrorHandling, 'record' | 'log'>) {
  const { traceId, ...trace } = newTrace()
  const answer = answerTo(refusals[String(error.code)] ?? malformed)
  errors.record(answer, error, errors.log, 'unmatched')
  const { status, title } = answer.problem
  const reason = typeof error.code === 'string' && { reason: error.code }
  errors.log.info({ event: 'http_refused', traceId, statusCode: status, ...reason }, 'rejected a malformed request')
  const body = JSON.stringify({ ...answer.problem, traceId })
  const headers: Record<string, string> = {
    ...commonHeaders({ traceId, ...trace }, socket),
    'content-type': 'application/problem+json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body))
  }
  return { status, title, headers, body }
}
