/** The reference of metrics, from the registries of the services. */

import { type MetricObject, Registry } from '@prometheus-io/client'
import { createLogger } from '#common/logging/logger.ts'
import { logMetrics, spoolLimitMetric } from '#common/logging/service-log.ts'
import { createRegistry, rpcClientMetrics, rpcMetrics } from '#common/ops/metrics.ts'
import { watchReadiness } from '#common/ops/readiness.ts'
import { authzFailures } from '#common/rpc/server/authz-failures.ts'
import { createCertificateWatch } from '#common/tls/certificate-watch.ts'
import { sinkMetrics } from '../../log-sink/metrics.ts'
import { sessionMetrics } from '../../session-svc/metrics.ts'
import { accountMetrics } from '../../user-svc/metrics.ts'

/** Metrics of Node.js and of the operating system, which differ between platforms. */
const isRuntimeMetric = (name: string) => /^(nodejs|process)_/.test(name)

const rpcServices = (registry: Registry) => rpcMetrics(registry, 'server')

function registryOf(...add: ((registry: Registry) => unknown)[]): Registry {
  const registry = new Registry()
  for (const each of add) each(registry)
  return registry
}

function common(): Registry {
  const registry = createRegistry('docs')
  logMetrics(registry)
  spoolLimitMetric(registry)
  createCertificateWatch(createLogger('docs', 'silent'), registry)
  watchReadiness([], createLogger('docs', 'silent'), registry).stop()
  return registry
}

/** One table for each service, and one for the metrics of all services. */
export function metricTables(gateway: Registry): string {
  const sections: Record<string, Registry> = {
    'All services': common(),
    'gateway, user-svc: calls to other services': registryOf(rpcClientMetrics),
    'user-svc, session-svc: RPC ports': registryOf(rpcServices, authzFailures),
    gateway,
    'user-svc': registryOf(accountMetrics),
    'session-svc': registryOf(sessionMetrics),
    'log-sink': registryOf((registry) => sinkMetrics(registry, () => 0))
  }
  return Object.entries(sections)
    .map(([title, registry]) => `## ${title}\n\n${table(registry)}`)
    .join('\n\n')
}

function table(registry: Registry): string {
  const rows = (registry.getMetricsAsArray() as (MetricObject & { labelNames?: string[] })[])
    .filter(({ name, type }) => !isRuntimeMetric(name) && type !== 'summary')
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, help, labelNames = [] }) => {
      const labels = labelNames.map((label) => `\`${label}\``).join(', ')
      return `| \`${name}\` | ${type} | ${labels} | ${help.replace(/\.$/, '')} |`
    })
  return ['| metric | type | labels | meaning |', '|---|---|---|---|', ...rows].join('\n')
}
