/** fastify-metrics: `http_request_duration_seconds` by method, route and status. */

import * as promClient from '@prometheus-io/client'
import type { FastifyInstance } from 'fastify'
import fastifyMetrics from 'fastify-metrics'
import { latencyBuckets } from '#common/ops/metrics.ts'

export async function measureRequests(app: FastifyInstance, registry: promClient.Registry): Promise<void> {
  const registers = [registry]
  const durations = () =>
    registry.getSingleMetric('http_request_duration_seconds') as promClient.Histogram<
      'method' | 'route' | 'status_code'
    >
  // The series of the product's own routes, which have a budget, start at 0.
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
      routeBlacklist: [/^\/docs/, /^\/playground/],
      overrides: {
        labels: { status: 'status_code' },
        histogram: { name: 'http_request_duration_seconds', buckets: latencyBuckets, registers },
        summary: { name: 'http_request_summary_seconds', registers }
      }
    }
  })
}
