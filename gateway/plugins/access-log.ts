/** Logs one line for each request: method, route, status, time; never the URL, a header or a body. */

import type { FastifyInstance } from 'fastify'
import type { Logger } from '#common/logging/logger.ts'
import { traceOf } from '../request-context.ts'

export function logRequests(app: FastifyInstance, log: Logger): void {
  app.addHook('onResponse', (request, reply, done) => {
    const { traceId, spanId } = traceOf(request.raw)
    log.info(
      {
        traceId,
        spanId,
        event: 'http_request',
        method: request.method,
        route: request.routeOptions.url ?? 'unmatched',
        statusCode: reply.statusCode,
        durationMs: Math.round(reply.elapsedTime * 100) / 100
      },
      'answered a request'
    )
    done()
  })
}
