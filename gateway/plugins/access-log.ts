/** One line and one measurement for each request: method, route, status, time. Never the URL, a header or a body. */

import * as promClient from '@prometheus-io/client'
import type { FastifyInstance } from 'fastify'
import fastifyMetrics from 'fastify-metrics'
import type { Logger } from '#common/logging/logger.ts'
import { latencyBuckets } from '#common/ops/metrics.ts'
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

/** `http_request_duration_seconds`, by method, route and status. */
export async function measureRequests(app: FastifyInstance, registry: promClient.Registry): Promise<void> {
  const registers = [registry]
  const durations = () =>
    registry.getSingleMetric('http_request_duration_seconds') as promClient.Histogram<
      'method' | 'route' | 'status_code'
    >
  // Only routes with a budget are the product's own; `zero` makes their series exist before the first request.
  app.addHook('onRoute', ({ method, url, schema, config }) => {
    const [status_code] = Object.keys(schema?.response ?? {})
    if (config?.budgetMs === undefined || status_code === undefined) return
    durations().zero({ method: String(method), route: url, status_code })
  })
  await app.register(fastifyMetrics.default, {
    endpoint: null,
    promClient,
    defaultMetrics: { enabled: false, register: registry },
    routeMetrics: {
      enabled: { histogram: true, summary: false },
      registeredRoutesOnly: false,
      invalidRouteGroup: 'unmatched',
      routeBlacklist: [/^\/docs/],
      overrides: {
        labels: { status: 'status_code' },
        histogram: { name: 'http_request_duration_seconds', buckets: latencyBuckets, registers },
        summary: { name: 'http_request_summary_seconds', registers }
      }
    }
  })
}
