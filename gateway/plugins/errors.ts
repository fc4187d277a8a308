/** Answers every error as problem+json, logs and counts it; unknown paths and wrong methods too. */

import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Code, ConnectError } from '@connectrpc/connect'
import { Counter, type Registry } from '@prometheus-io/client'
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { allCodes, errorMeaning } from '#common/error-table.ts'
import type { Logger } from '#common/logger.ts'
import { newTrace } from '#common/trace.ts'
import { type Answer, answerTo, HttpRefusal } from '../problem.ts'
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
    // A client's error is told by the line that every request has.
    if (errorClass === 'client') return
    const fields = { event: 'request_failed', code, route, statusCode: problem.status, err: error }
    requestLog.error(fields, 'answered a request by an error')
  }

  function handle(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const answer = answerTo(error)
    const trace = traceOf(request.raw)
    record(answer, error, request.log as unknown as Logger, request.routeOptions.url ?? 'unmatched')
    return reply
      .code(answer.problem.status)
      .headers({ ...commonHeaders(trace), ...answer.headers })
      .type('application/problem+json')
      .send({ ...answer.problem, traceId: trace.traceId })
  }

  return {
    handle,

    notFound(app: FastifyInstance) {
      return (request: FastifyRequest, reply: FastifyReply) => {
        const [url = '/'] = request.url.split('?')
        const allowed = methods.filter((method) => app.findRoute({ url, method }) !== null)
        const error =
          allowed.length > 0
            ? new HttpRefusal(405, { allow: allowed.join(', ') })
            : new ConnectError('There is nothing at this path.', Code.NotFound)
        return handle(error, request, reply)
      }
    },

    /** Answers what is not even HTTP, on the bare socket. */
    clientError(error: Error & { code?: string }, socket: Socket): void {
      if (error.code === 'ECONNRESET' || socket.destroyed || !socket.writable) {
        socket.destroy()
        return
      }
      const thrown =
        error.code === 'HPE_HEADER_OVERFLOW'
          ? new HttpRefusal(431)
          : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
            ? new HttpRefusal(408)
            : new ConnectError('The request is not well-formed HTTP.', Code.InvalidArgument)
      const trace = newTrace()
      const answer = answerTo(thrown)
      record(answer, thrown, log.child({ traceId: trace.traceId }) as unknown as Logger, 'unmatched')
      const body = JSON.stringify({ ...answer.problem, traceId: trace.traceId })
      const response = new ServerResponse({
        method: 'GET',
        httpVersionMajor: 1,
        httpVersionMinor: 1
      } as IncomingMessage)
      response.assignSocket(socket)
      response.shouldKeepAlive = false
      response.writeHead(answer.problem.status, {
        ...commonHeaders(trace),
        'content-type': 'application/problem+json',
        'content-length': Buffer.byteLength(body)
      })
      response.end(body, () => socket.destroySoon())
    }
  }
}
