/** Checks runbooks against alerts, dashboards, keys, logged events and `make logs`. */

import { existsSync, globSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Key } from '#common/config/keys.ts'
import { forEachKey, loadConfig } from '#common/config/load.ts'
import { readQuery } from '../log-viewer/query.ts'
import { schema } from '../stack/config.ts'
import { alerts, list, read, root } from './support/ops-files.ts'

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
