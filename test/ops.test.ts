/** Checks rules, alerts, dashboards and runbooks against each other and against the code. */

import { spawnSync } from 'node:child_process'
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse as parseYaml, stringify } from 'yaml'
import type { Key } from '#common/config/keys.ts'
import { forEachKey, loadConfig } from '#common/config/load.ts'
import { allCodes, errorMeaning } from '#common/errors/codes.ts'
import { readQuery } from '../log-viewer/query.ts'
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

/** The program behind `make logs`, also in the container of log-sink. */
const viewer = 'stack/logs.ts'
const runbookLines = () =>
  list('ops/runbooks').flatMap((file) =>
    read(`ops/runbooks/${file}`)
      .split('\n')
      .map((line) => ({ file, line }))
  )

const keys = new Map<string, Key<unknown>>()
forEachKey(schema, (path, key) => keys.set(path, key))
const isKeyOrGroup = (name: string) => [...keys.keys()].some((path) => `${path}.`.startsWith(`${name}.`))

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

t.test('a runbook belongs to an alert, has four parts, and names existing alerts and keys', async (t) => {
  for (const file of list('ops/runbooks')) {
    const text = read(`ops/runbooks/${file}`)
    t.ok(
      alerts.some(({ annotations }) => annotations.runbook_url === `ops/runbooks/${file}`),
      `an alert has the runbook ${file}`
    )
    t.same(
      text.match(/^## .*/gm),
      ['## What it means', '## What the user sees', '## What to check', '## What to do'],
      `the parts of ${file}`
    )
    for (const [, name] of text.match(/^Alerts?:.*$/m)?.[0].matchAll(/`(\w+)`/g) ?? []) {
      t.ok(
        alerts.some(({ alert }) => alert === name),
        `${file}: the alert ${name} exists`
      )
    }
    for (const [, path = ''] of text.matchAll(/`(\w+\.[a-zA-Z.]+)`/g)) {
      if ((path.split('.')[0] as string) in schema) t.ok(isKeyOrGroup(path), `${file}: the key ${path} exists`)
    }
  }
})

t.test('defaults in runbooks and dashboards match the schema', async (t) => {
  const defaults = loadConfig(schema, { CONFIG_FILE: '/dev/null' })
  const units: Record<string, number> = { '': 1, GiB: 2 ** 30, days: 86_400_000 }
  const files = [...list('ops/runbooks').map((file) => `ops/runbooks/${file}`), 'ops/grafana/dashboards/auth.json']
  const stated = files.flatMap((file) => [
    ...read(file).matchAll(/`?\b([a-z]\w+\.[a-zA-Z.]+[a-zA-Z])`?(?:, | \()(\d+)(?: (GiB|days))?\b/g)
  ])
  for (const [, path = '', amount, unit = ''] of stated) {
    const byDefault = path
      .split('.')
      .reduce<unknown>((node, name) => (node as Record<string, unknown>)?.[name], defaults)
    t.equal(Number(amount) * (units[unit] as number), byDefault, `${path} is ${amount} ${unit} by default`)
  }
  t.ok(stated.length >= 10)
})

t.test('panels and events in runbooks exist', async (t) => {
  const panels = list('ops/grafana/dashboards').flatMap(
    (file) => JSON.parse(read(`ops/grafana/dashboards/${file}`)).panels as { title: string }[]
  )
  // A runbook may omit the part behind a comma, such as the quantile.
  const titles = panels.flatMap(({ title }) => [title, title.split(', ')[0] as string])
  const code = globSync('{common,gateway,user-svc,session-svc,log-sink}/**/*.ts', { cwd: root })
    .filter((file) => !file.includes('/test/'))
    .map(read)
    .join('\n')
  const logged = (levels: string) =>
    [...code.matchAll(new RegExp(`\\.(?:${levels})\\(\\s*\\{ event: '(\\w+)'`, 'g'))].map(([, event = '']) => event)
  const severe = logged('warn|error|fatal')
  const quiet = logged('debug|info').filter((event) => !severe.includes(event))
  t.ok(quiet.includes('sys_startup') && severe.includes('sys_crash'), 'the levels of events are known')

  for (const { file, line } of runbookLines()) {
    for (const [named] of line.matchAll(/\bpanels? _.+?_(?: and _.+?_)*/g)) {
      for (const [, title = ''] of named.matchAll(/_(.+?)_/g))
        t.ok(titles.includes(title), `${file}: ${title} is a panel`)
    }
    const events = [...line.matchAll(/\bevents? `(\w+)`|`(sys_\w+)`/g)].map(
      ([, named, system]) => named ?? system ?? ''
    )
    for (const event of events) t.ok(code.includes(`'${event}'`), `${file}: ${event} is logged`)
    if (!line.includes('docker compose logs') || line.includes(viewer)) continue
    t.notOk(
      events.some((event) => quiet.includes(event)),
      `${file}: the output of a container has warnings and errors only`
    )
  }
})

t.test('`make logs` accepts the variables in runbooks', async (t) => {
  const value = '(?:<[^>]+>|[^\\s`<]+)'
  const locally = new RegExp(`make logs((?: \\w+=${value})+)`, 'g')
  const inDocker = new RegExp(`docker compose exec((?: -e \\w+=${value})+) log-sink node ${viewer}`, 'g')
  t.ok(existsSync(join(root, viewer)))
  let count = 0
  for (const { file, line } of runbookLines()) {
    const [here = [], there = []] = [locally, inDocker].map((pattern) =>
      [...line.matchAll(pattern)].map(([, variables = '']) => variables.replaceAll(' -e ', ' '))
    )
    t.same(here, there, `${file}: the same variables with and without Docker`)
    t.equal(line.split('make logs').length - 1, here.length, `${file}: in an accepted form`)
    t.equal(line.split(viewer).length - 1, there.length, `${file}: in an accepted form`)
    for (const [, name = '', written = ''] of here.join(' ').matchAll(new RegExp(`(\\w+)=(${value})`, 'g'))) {
      const asked = name === 'TRACE' ? '0af7651916cd43dd8448eb211c80319c' : written
      t.ok(Object.values(readQuery({ [name]: asked }, Date.now())).some(Boolean), `${file}: ${name}=${written}`)
      count += 1
    }
  }
  t.ok(count > 5)
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
