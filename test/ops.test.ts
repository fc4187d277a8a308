/** Holds what operators get, rules, dashboards and runbooks, against each other and against the code. */

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse as parseYaml, stringify } from 'yaml'
import { allCodes, errorMeaning } from '#common/error-table.ts'
import { schema } from '../stack/config.ts'
import { dashboardExpressions, missingMetrics, reads, rules } from './metrics-used.ts'
import { findPromtool } from './promtool.ts'

const root = join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const list = (folder: string) => readdirSync(join(root, folder))

interface Alert {
  alert: string
  labels: { severity: string }
  annotations: { summary: string; description: string; runbook_url: string }
}
const alerts = rules().filter((rule) => rule.alert !== undefined) as unknown as Alert[]

// promtool may have to be fetched first.
t.setTimeout(300_000)

t.test('promtool', async (t) => {
  t.setTimeout(300_000)
  const promtool = findPromtool()
  if (promtool === undefined) {
    t.pass('promtool', { skip: 'it is not on the path, and the package `prometheus` that has it cannot be had' })
    return
  }

  const passes = (name: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(promtool, args, { cwd: root, encoding: 'utf8' })
    if (status !== 0) t.comment(stdout + stderr)
    t.equal(status, 0, name)
  }
  passes('takes the configuration', 'check', 'config', 'ops/prometheus/prometheus.yml')
  for (const file of list('ops/prometheus/rules')) {
    passes(`takes ${file}`, 'check', 'rules', '--lint=all', '--lint-fatal', `ops/prometheus/rules/${file}`)
  }
  for (const file of list('ops/prometheus/tests')) {
    passes(`rule tests of ${file}`, 'test', 'rules', `ops/prometheus/tests/${file}`)
  }

  const panels = dashboardExpressions().map(({ where, expr }, index) => {
    return { record: `panel:${index}`, labels: { where }, expr }
  })
  const folder = t.testdir({ 'panels.yml': stringify({ groups: [{ name: 'panels', rules: panels }] }) })
  passes('takes every expression of the dashboards', 'check', 'rules', join(folder, 'panels.yml'))
})

t.test('an alert has a severity, words, a test that fires it, and a runbook of four parts', async (t) => {
  const tests = list('ops/prometheus/tests').flatMap((file) => {
    const { tests } = parseYaml(read(`ops/prometheus/tests/${file}`)) as {
      tests: { alert_rule_test?: { alertname: string; exp_alerts?: unknown[] }[] }[]
    }
    return tests.flatMap((test) => test.alert_rule_test ?? [])
  })
  for (const { alert, labels, annotations } of alerts) {
    t.match(labels.severity, /^(critical|warning)$/, `${alert} has a severity`)
    t.ok(annotations.summary && annotations.description, `${alert} says what it is`)
    t.ok(
      tests.some(({ alertname, exp_alerts = [] }) => alertname === alert && exp_alerts.length > 0),
      `a rule test fires ${alert}`
    )
    t.match(annotations.runbook_url, /^ops\/runbooks\/[a-z-]+\.md$/, `${alert} has a runbook`)
    if (!existsSync(join(root, annotations.runbook_url))) t.fail(`${annotations.runbook_url} is missing`)
    else t.match(read(annotations.runbook_url), `\`${alert}\``, `the runbook of ${alert} names it`)
  }
})

t.test('a runbook belongs to an alert, has its four parts, and links to what exists', async (t) => {
  for (const file of list('ops/runbooks')) {
    const text = read(`ops/runbooks/${file}`)
    t.ok(
      alerts.some(({ annotations }) => annotations.runbook_url === `ops/runbooks/${file}`),
      `an alert leads to ${file}`
    )
    t.same(
      text.match(/^## .*/gm),
      ['## What it means', '## What the user sees', '## What to check', '## What to do'],
      `the parts of ${file}`
    )
    for (const [, name] of text.match(/^Alerts?:.*$/m)?.[0].matchAll(/`(\w+)`/g) ?? []) {
      t.ok(
        alerts.some(({ alert }) => alert === name),
        `${file} is about ${name}, which exists`
      )
    }
    for (const [, link] of text.matchAll(/\]\(([^)]+)\)/g)) {
      t.ok(existsSync(join(root, 'ops/runbooks', link as string)), `${file} links to ${link}`)
    }
    for (const [, key] of text.matchAll(/`((?:gateway|userSvc|session|rpc|log)\.[a-zA-Z.]+)`/g)) {
      const node = (key as string)
        .split('.')
        .reduce<unknown>((node, name) => (node as Record<string, unknown> | undefined)?.[name], schema)
      t.ok(node, `${file} names the key ${key}, which exists`)
    }
  }
})

t.test('the RPC error ratio counts the codes that are the server’s fault', async (t) => {
  const rule = rules().find(({ record }) => record === 'method:grpc_server_errors:ratio_rate5m')
  const counted = /grpc_code=~"([^"]+)"/.exec(rule?.expr ?? '')?.[1]?.split('|') ?? []
  const atFault = allCodes.filter((code) => errorMeaning(code).errorClass === 'server')
  t.same(counted.toSorted(), atFault.map((code) => errorMeaning(code).name).toSorted())
})

t.test('codes that rules match exist', async (t) => {
  const names = allCodes.map((code) => errorMeaning(code).name)
  const matched = rules().flatMap(({ expr }) => [...expr.matchAll(/\b(?:grpc_)?code(?:=~|!~|!=|=)"([^"]+)"/g)])
  t.ok(matched.length > 0)
  for (const code of matched.flatMap(([, codes]) => (codes as string).split('|'))) t.ok(names.includes(code), code)
})

t.test('dashboards read the provisioned datasource', async (t) => {
  const { datasources } = parseYaml(read('ops/grafana/provisioning/datasources/prometheus.yml'))
  for (const file of list('ops/grafana/dashboards')) {
    const { uid, panels } = JSON.parse(read(`ops/grafana/dashboards/${file}`))
    t.ok(uid, `${file} has a fixed uid`)
    t.same(new Set(panels.map(({ id }: { id: number }) => id)).size, panels.length, 'every panel has its own id')
    const used = [
      ...read(`ops/grafana/dashboards/${file}`).matchAll(/"datasource": \{\s*"type": "(\w+)",\s*"uid": "(\w+)"/g)
    ]
    t.ok(used.length > panels.length / 2)
    for (const [, type, uid] of used) t.match(datasources[0], { type, uid })
  }
})

t.test('what an expression reads is found', async (t) => {
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

t.test('every recorded metric that is read is recorded', async (t) => {
  const recorded = rules().flatMap(({ record }) => record ?? [])
  const read = [...rules(), ...dashboardExpressions()].flatMap(({ expr }) =>
    reads(expr).metrics.map(({ name }) => name)
  )
  for (const name of new Set(read.filter((name) => name.includes(':')))) t.ok(recorded.includes(name), name)
  for (const name of recorded) t.ok(read.includes(name), `${name} is used`)
})

t.test('a metric or label that no page has is told', async (t) => {
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
    /^no label result to group by \(.*Log-ins by result\)$/m
  )
})
