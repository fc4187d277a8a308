/** Which metrics the rules and dashboards in ops/ use, and whether a scrape of the running product has them. */

import { readdirSync, readFileSync } from 'node:fs'
import { parse as parseYaml } from 'yaml'

/** A PromQL expression and the place it stands in, for messages. */
export interface Expression {
  where: string
  expr: string
}

interface Rule {
  record?: string
  alert?: string
  expr: string
}

interface Panel {
  title: string
  targets?: { expr: string }[]
}

interface Dashboard {
  panels: Panel[]
  annotations: { list: { name: string; expr?: string }[] }
}

const root = new URL('../', import.meta.url)
const read = (file: string) => readFileSync(new URL(file, root), 'utf8')
const filesIn = (folder: string) => readdirSync(new URL(folder, root)).map((file) => `${folder}/${file}`)

/** Every rule, with the file it is in. */
export function rules(): (Rule & { where: string })[] {
  return filesIn('ops/prometheus/rules').flatMap((file) => {
    const { groups } = parseYaml(read(file)) as { groups: { rules: Rule[] }[] }
    return groups
      .flatMap((group) => group.rules)
      .map((rule) => {
        return { ...rule, where: `${file}: ${rule.alert ?? rule.record}` }
      })
  })
}

/** Every expression of every dashboard, Grafana's variables replaced so that Prometheus can read it. */
export function dashboardExpressions(): Expression[] {
  return filesIn('ops/grafana/dashboards').flatMap((file) => {
    const { panels, annotations } = JSON.parse(read(file)) as Dashboard
    const targets = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })))
    const marks = annotations.list.flatMap(({ name, expr }) => (expr ? [{ title: name, expr }] : []))
    return [...targets, ...marks].map(({ title, expr }) => {
      return { where: `${file}: ${title}`, expr: expr.replaceAll('$__rate_interval', '5m') }
    })
  })
}

const words = new Set(
  `and or unless bool offset inf nan atan2 sum min max avg group stddev stdvar count count_values bottomk topk
   quantile limitk limit_ratio`.split(/\s+/)
)

/** What an expression reads: its metrics with the labels that are matched, and the labels that are grouped by. */
export function reads(expr: string): { metrics: { name: string; labels: string[] }[]; grouping: string[] } {
  const bare = expr.replaceAll(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`/g, '""').replaceAll(/\[[^\]]*\]/g, '')
  const grouping: string[] = []
  const ungrouped = bare.replaceAll(
    /\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g,
    (_, labels: string) => {
      grouping.push(...(labels.match(/\w+/g) ?? []))
      return ' '
    }
  )
  const metrics: { name: string; labels: string[] }[] = []
  // A name with a parenthesis behind it is a function.
  for (const [, name, matchers] of ungrouped.matchAll(
    /(?<![\w.:])([a-zA-Z_:][\w:]*)(?![\w:]*\s*\()\s*(?:\{([^}]*)\})?/g
  )) {
    if (name === undefined || words.has(name.toLowerCase())) continue
    metrics.push({ name, labels: [...(matchers ?? '').matchAll(/(\w+)\s*[=!]/g)].map(([, label]) => label as string) })
  }
  return { metrics, grouping }
}

/** The samples on `/metrics` pages: each name with the labels that any of its samples has. */
function samples(pages: string[]): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const line of pages.flatMap((page) => page.split('\n'))) {
    const [, name, labels = ''] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? /.exec(line) ?? []
    if (name === undefined) continue
    const known = found.get(name) ?? new Set()
    for (const [, label] of labels.matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)) known.add(label as string)
    found.set(name, known)
  }
  return found
}

/** Made by Prometheus itself. */
const isSynthetic = (name: string) => /^(up|ALERTS|ALERTS_FOR_STATE|scrape_\w+)$/.test(name)
const targetLabels = ['job', 'instance']

/**
 * Says which metrics and labels the rules and dashboards use that are on none of these `/metrics` pages.
 *
 * @param pages the texts of the pages of all four services, after every route and method has been used once
 * @returns one line for each, with the place that uses it; empty when all is well
 */
export function missingMetrics(pages: string[]): string[] {
  const exported = samples(pages)
  const recorded = new Set(rules().flatMap(({ record }) => record ?? []))
  const problems = [...rules(), ...dashboardExpressions()].flatMap(({ where, expr }) => {
    const { metrics, grouping } = reads(expr)
    const scraped = metrics.filter(({ name }) => !isSynthetic(name) && !recorded.has(name))
    const has = (name: string, label: string) => targetLabels.includes(label) || exported.get(name)?.has(label) === true
    const known = scraped.filter(({ name }) => exported.has(name))
    return [
      ...scraped.filter(({ name }) => !exported.has(name)).map(({ name }) => `no metric ${name} (${where})`),
      ...known.flatMap(({ name, labels }) =>
        labels.filter((label) => !has(name, label)).map((label) => `no label ${label} on ${name} (${where})`)
      ),
      // What a recording rule keeps is known only where nothing recorded is read.
      ...grouping
        .filter((label) => known.length === metrics.length && !known.some(({ name }) => has(name, label)))
        .map((label) => `no label ${label} to group by (${where})`)
    ]
  })
  return [...new Set(problems)]
}
