/** Finds the metrics in the rules and dashboards of ops/, and compares them with a scrape of the running product. */

import { readdirSync, readFileSync } from 'node:fs'
import { parse as parseYaml } from 'yaml'

/** A PromQL expression and its file and title, for messages. */
interface Expression {
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

/** Every rule, with its file. */
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

/** Every expression of every dashboard, with Grafana's variables replaced by values. */
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

/** The metrics of an expression with the labels that it matches, and the labels of its groupings. */
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
  // A name before a parenthesis is a function.
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

/** Series that Prometheus itself writes. */
const isSynthetic = (name: string) => /^(up|ALERTS|ALERTS_FOR_STATE|scrape_\w+)$/.test(name)
const targetLabels = ['job', 'instance']

/**
 * Finds metrics and labels in rules and dashboards that no page has.
 *
 * @param pages the `/metrics` pages of all four services
 * @returns one line for each, with the expression that uses it
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
      // The labels of recorded metrics are not known here.
      ...grouping
        .filter((label) => known.length === metrics.length && !known.some(({ name }) => has(name, label)))
        .map((label) => `no label ${label} to group by (${where})`)
    ]
  })
  return [...new Set(problems)]
}
