/** Finding the metrics that rules and dashboards read, and those that no service exports. */

import t from 'tap'
import { dashboardExpressions, missingMetrics, reads, rules } from './metrics-used.ts'

t.test('finds the metrics, labels and groupings of an expression', async (t) => {
  t.same(
    reads(
      'sum by (job, le) (rate(a_bucket{job=~"x|y[.]{2}",le!="1"}[5m])) / on (job) group_left (v) (b:c > 1e3) or vector(0)'
    ),
    {
      metrics: [
        { name: 'a_bucket', labels: ['job', 'le'] },
        { name: 'b:c', labels: [] }
      ],
      grouping: ['job', 'le', 'job', 'v']
    }
  )
})

t.test('every recorded metric in an expression has a rule, and every rule is used', async (t) => {
  const recorded = rules().flatMap(({ record }) => record ?? [])
  const read = [...rules(), ...dashboardExpressions()].flatMap(({ expr }) =>
    reads(expr).metrics.map(({ name }) => name)
  )
  for (const name of new Set(read.filter((name) => name.includes(':')))) t.ok(recorded.includes(name), name)
  for (const name of recorded) t.ok(read.includes(name), `${name} is used`)
})

t.test('reports a metric or label that no service exports', async (t) => {
  const used = [...rules(), ...dashboardExpressions()].flatMap(({ expr }) => reads(expr))
  const labels = new Set(used.flatMap(({ metrics, grouping }) => [...metrics.flatMap((m) => m.labels), ...grouping]))
  const names = new Set(used.flatMap(({ metrics }) => metrics.map(({ name }) => name)))
  const page = (omit: (name: string, label: string) => boolean) =>
    [...names]
      .map((name) => `${name}{${[...labels].filter((label) => !omit(name, label)).map((label) => `${label}="x"`)}} 0`)
      .join('\n')
  const complete = page(() => false)
  t.same(missingMetrics([complete]), [])
  t.match(missingMetrics([complete.replaceAll(/^dependency_up\{.*$/gm, '')])[0], /^no metric dependency_up \(ops/)
  t.match(
    missingMetrics([page((name, label) => name === 'dependency_up' && label === 'dependency')])[0],
    /^no label dependency on dependency_up \(ops/
  )
  t.match(
    missingMetrics([page((name, label) => name === 'auth_logins_total' && label === 'result')]).join('\n'),
    /^no label result to group by \(.*Logins by result\)$/m
  )
})
