/** Answers every error as problem+json, logs it and counts it. */

import { Counter, type Registry } from '@prometheus-io/client'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { allCodes, errorMeaning } from '#common/errors/codes.ts'
import { isOverload } from '#common/errors/connect-errors.ts'
import { type Logger, tracedLogger } from '#common/logging/logger.ts'
import { type Answer, answerTo, clientClosed, reasonProblems } from '../problem.ts'
import { commonHeaders, traceOf } from '../request-context.ts'
import { limitErrorOf } from './device-token.ts'

export type ErrorHandling = ReturnType<typeof errorHandling>

export function errorHandling(registry: Registry, log: Logger) {
  const counter = new Counter({
    name: 'request_errors_total',
    help: 'Requests answered by an error, by class (client or server error) and code',
    labelNames: ['error_class', 'code'],
    registers: [registry]
  })
  for (const { name, errorClass } of allCodes.map(errorMeaning)) counter.inc({ error_class: errorClass, code: name }, 0)
  for (const { code } of Object.values(reasonProblems)) counter.inc({ error_class: 'client', code }, 0)

  function record(answer: Answer, error: unknown, requestLog: Logger, route: string): void {
    const { errorClass, code, problem } = answer
    counter.inc({ error_class: errorClass, code })
    // The access log and the counters cover client errors and shed requests.
    if (errorClass === 'client' || isOverload(error)) return
    const fields = { event: 'request_failed', code, route, statusCode: problem.status, err: error }
    requestLog.error(fields, 'answered a request by an error')
  }

  function handle(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    // After the client has disconnected, an error is no server error, whatever its code.
    const { destroyed, remoteAddress } = request.raw.socket
    const answer = answerTo(destroyed || remoteAddress === undefined ? clientClosed() : limitErrorOf(request, error))
    const trace = traceOf(request.raw)
    record(answer, error, tracedLogger(log, trace), request.routeOptions.url ?? 'unmatched')
    return reply
      .code(answer.problem.status)
      .headers({ ...commonHeaders(trace, request.raw.socket), ...answer.headers })
      .type('application/problem+json')
      .send({ ...answer.problem, traceId: trace.traceId })
  }

  return { log, record, handle }
}
