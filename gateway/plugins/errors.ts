/** Answers every error as problem+json, logs and counts it; unknown paths and wrong methods too. */

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Code, ConnectError } from '@connectrpc/connect'
import { Counter, type Registry } from '@prometheus-io/client'
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { allCodes, errorMeaning } from '#common/errors/codes.ts'
import { isOverload } from '#common/errors/connect-errors.ts'
import { type Logger, tracedLogger } from '#common/logging/logger.ts'
import { newTrace } from '#common/ops/trace.ts'
import { type Answer, answerTo, clientClosed, HttpRefusal } from '../problem.ts'
import { commonHeaders, traceOf } from '../request-context.ts'

const methods: HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

/** How errors leave the gateway. */
export function errorHandling(registry: Registry, log: Logger) {
  const counter = new Counter({
    name: 'request_errors_total',
    help: "Requests answered by an error, by whose fault it was: the client's or the server's",
    labelNames: ['error_class', 'code'],
    registers: [registry]
  })
  for (const { name, errorClass } of allCodes.map(errorMeaning)) counter.inc({ error_class: errorClass, code: name }, 0)

  function record(answer: Answer, error: unknown, requestLog: Logger, route: string): void {
    const { errorClass, code, problem } = answer
    counter.inc({ error_class: errorClass, code })
    // A client's error is told by the line that every request has, and so is what is refused under overload.
    if (errorClass === 'client' || isOverload(error)) return
    const fields = { event: 'request_failed', code, route, statusCode: problem.status, err: error }
    requestLog.error(fields, 'answered a request by an error')
  }

  function handle(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    // Whatever fails because the client has gone away is no fault of ours.
    const { destroyed, remoteAddress } = request.raw.socket
    const gone = destroyed || remoteAddress === undefined
    const answer = answerTo(gone ? clientClosed() : error)
    const trace = traceOf(request.raw)
    record(answer, error, tracedLogger(log, trace), request.routeOptions.url ?? 'unmatched')
    return reply
      .code(answer.problem.status)
      .headers({ ...commonHeaders(trace), ...answer.headers })
      .type('application/problem+json')
      .send({ ...answer.problem, traceId: trace.traceId })
  }

  return {
    handle,

    /** Unknown paths and methods are 404 and 405 whatever their body is, which is not read. */
    answerUnknownRoutes(app: FastifyInstance): void {
      app.addHook('preParsing', (request, _reply, payload, done) => {
        if (request.is404) done(unknownRoute(app, request))
        else done(null, payload)
      })
      app.setNotFoundHandler((request, reply) => handle(unknownRoute(app, request), request, reply))
    },

    /**
     * Answers what is not even HTTP. The fault can be in the middle of a body, when the request is being handled
     * already, so this writes to the bare socket; it must never throw, or one connection ends the process.
     *
     * @param isAnswered whether the request that is being received has its response already
     */
    clientError(
      error: Error & { code?: string },
      socket: Socket & { _httpMessage?: ServerResponse },
      isAnswered: boolean
    ): void {
      // Half an answer may be under way; a second one behind it would be read as part of it.
      if (error.code === 'ECONNRESET' || !socket.writable || socket._httpMessage?.headersSent || isAnswered) {
        socket.destroy()
        return
      }
      const refusals: Record<string, Error> = {
        HPE_HEADER_OVERFLOW: new HttpRefusal(431),
        ERR_HTTP_REQUEST_TIMEOUT: new HttpRefusal(408)
      }
      const malformed = new ConnectError('The request is not well-formed HTTP.', Code.InvalidArgument)
      const trace = newTrace()
      const answer = answerTo(refusals[error.code ?? ''] ?? malformed)
      record(answer, error, log, 'unmatched')
      const { status, title } = answer.problem
      const fields = {
        event: 'http_refused',
        traceId: trace.traceId,
        statusCode: status,
        ...(error.code && { reason: error.code })
      }
      log.info(fields, 'refused what is no request')
      const body = JSON.stringify({ ...answer.problem, traceId: trace.traceId })
      const headers = {
        ...commonHeaders(trace),
        connection: 'close',
        'content-type': 'application/problem+json; charset=utf-8',
        'content-length': String(Buffer.byteLength(body))
      }
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
      socket.end(`HTTP/1.1 ${status} ${title}\r\n${lines.join('\r\n')}\r\n\r\n${body}`)
    }
  }
}

function unknownRoute(app: FastifyInstance, request: FastifyRequest): HttpRefusal | ConnectError {
  const [url = '/'] = request.url.split('?')
  const allowed = methods.filter((method) => app.findRoute({ url, method }) !== null)
  return allowed.length > 0 && !allowed.includes(request.method as HTTPMethods)
    ? new HttpRefusal(405, { allow: allowed.join(', ') })
    : new ConnectError('There is nothing at this path.', Code.NotFound)
}
