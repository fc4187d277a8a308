/** Checks rules, alerts and dashboards against each other and against the code. */

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse as parseYaml, stringify } from 'yaml'
import { allCodes, errorMeaning } from '#common/errors/codes.ts'
import { dashboardExpressions, rules } from './metrics-used.ts'
import { findPromtool } from './promtool.ts'
import { alerts, list, read, root } from './support/ops-files.ts'

// promtool may have to be downloaded first.
t.setTimeout(600_000)

t.test('promtool', async (t) => {
  t.setTimeout(600_000)
  const promtool = findPromtool()
  if (promtool === undefined) {
    t.pass('promtool', { skip: 'promtool is not installed, and the package `prometheus` cannot be downloaded' })
    return
  }

  const passes = (name: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(promtool, args, { cwd: root, encoding: 'utf8' })
    if (status !== 0) t.comment(stdout + stderr)
    t.equal(status, 0, name)
  }
  passes('accepts the configuration', 'check', 'config', 'ops/prometheus/prometheus.yml')
  for (const file of list('ops/prometheus/rules')) {
    passes(`accepts ${file}`, 'check', 'rules', '--lint=all', '--lint-fatal', `ops/prometheus/rules/${file}`)
  }
  for (const file of list('ops/prometheus/tests')) {
    passes(`rule tests of ${file}`, 'test', 'rules', `ops/prometheus/tests/${file}`)
  }

  const panels = dashboardExpressions().map(({ where, expr }, index) => {
    return { record: `panel:${index}`, labels: { where }, expr }
  })
  const folder = t.testdir({ 'panels.yml': stringify({ groups: [{ name: 'panels', rules: panels }] }) })
  passes('accepts every expression of the dashboards', 'check', 'rules', join(folder, 'panels.yml'))
})

t.test('an alert has a severity, a summary, a description, a rule test that fires it, and a runbook', async (t) => {
  const tests = list('ops/prometheus/tests').flatMap((file) => {
    const { tests } = parseYaml(read(`ops/prometheus/tests/${file}`)) as {
      tests: { alert_rule_test?: { alertname: string; exp_alerts?: unknown[] }[] }[]
    }
    return tests.flatMap((test) => test.alert_rule_test ?? [])
  })
  for (const { alert, labels, annotations } of alerts) {
    t.match(labels.severity, /^(critical|warning)$/, `${alert} has a severity`)
    t.ok(annotations.summary && annotations.description, `${alert} has a summary and a description`)
    t.ok(
      tests.some(({ alertname, exp_alerts = [] }) => alertname === alert && exp_alerts.length > 0),
      `a rule test fires ${alert}`
    )
    t.match(annotations.runbook_url, /^ops\/runbooks\/[a-z-]+\.md$/, `${alert} has a runbook`)
    if (!existsSync(join(root, annotations.runbook_url))) t.fail(`${annotations.runbook_url} is missing`)
    else t.match(read(annotations.runbook_url), `\`${alert}\``, `the runbook of ${alert} names it`)
  }
})

t.test('the RPC error ratio counts the codes of the class `server`', async (t) => {
  const rule = rules().find(({ record }) => record === 'method:grpc_server_errors:ratio_rate5m')
  const counted = /grpc_code=~"([^"]+)"/.exec(rule?.expr ?? '')?.[1]?.split('|') ?? []
  const atFault = allCodes.filter((code) => errorMeaning(code).errorClass === 'server')
  t.same(counted.toSorted(), atFault.map((code) => errorMeaning(code).name).toSorted())
})

t.test('codes in rules exist', async (t) => {
  const names = allCodes.map((code) => errorMeaning(code).name)
  const matched = rules().flatMap(({ expr }) => [...expr.matchAll(/\b(?:grpc_)?code(?:=~|!~|!=|=)"([^"]+)"/g)])
  t.ok(matched.length > 0)
  for (const code of matched.flatMap(([, codes]) => (codes as string).split('|'))) t.ok(names.includes(code), code)
})

t.test('dashboards use the provisioned datasource, and panels do not overlap', async (t) => {
  const { datasources } = parseYaml(read('ops/grafana/provisioning/datasources/prometheus.yml'))
  for (const file of list('ops/grafana/dashboards')) {
    const { uid, panels } = JSON.parse(read(`ops/grafana/dashboards/${file}`))
    t.ok(uid, `${file} has a fixed uid`)
    t.same(new Set(panels.map(({ id }: { id: number }) => id)).size, panels.length, 'every panel has its own id')
    const cells = (panels as { gridPos: Record<'x' | 'y' | 'w' | 'h', number> }[]).flatMap(
      ({ gridPos: { x, y, w, h } }) =>
        Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)} ${y + Math.floor(cell / w)}`)
    )
    t.equal(new Set(cells).size, cells.length, 'no panels overlap')
    const used = [
      ...read(`ops/grafana/dashboards/${file}`).matchAll(/"datasource": \{\s*"type": "(\w+)",\s*"uid": "(\w+)"/g)
    ]
    t.ok(used.length > panels.length / 2)
    for (const [, type, uid] of used) t.match(datasources[0], { type, uid })
  }
})
