/** Writes the configuration reference in README.md and the catalogue of keys, from the schema; `--check` only reports stale ones. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { forEachKey, type Schema } from '#common/config/load.ts'
import { schema } from './config.ts'

const file = new URL('../README.md', import.meta.url)
const [begin, end] = ['<!-- configuration: begin (written by make generate) -->', '<!-- configuration: end -->']

function table(section: string, keys: Schema): string {
  const rows: string[] = []
  forEachKey(
    keys,
    (path, { default: value, productionDefault, doc, accepts }) => {
      const written = value === '' ? 'none' : Array.isArray(value) ? `[${value}]` : String(value)
      const production = productionDefault === undefined ? '' : `, in production \`${productionDefault}\``
      rows.push(`| \`${path}\` | \`${written}\`${production} | ${doc} Takes ${accepts}. |`)
    },
    `${section}.`
  )
  return ['| key | default | meaning |', '|---|---|---|', ...rows].join('\n')
}

const reference = Object.entries(schema)
  .map(([section, keys]) => `#### \`${section}\`\n\n${table(section, keys)}`)
  .join('\n\n')

writeGenerated(new URL('../common/config/catalogue.ts', import.meta.url), catalogue())

const readme = readFileSync(file, 'utf8')
const [before, rest] = readme.split(begin)
const after = rest?.split(end)[1]
if (before === undefined || after === undefined)
  throw new Error('README.md lacks the marks of the configuration reference')
writeGenerated(file, `${before}${begin}\n\n${reference}\n\n${end}${after}`)

/** The paths of all keys, for services to recognise those of others. */
function catalogue(): string {
  const paths: string[] = []
  forEachKey(schema, (path) => paths.push(path))
  const lines = paths.map((path) => `  '${path}'`).join(',\n')
  return `/** The path of every key of every service; written by \`make generate\` from the schemas. */\n\nexport const keyPaths: readonly string[] = [\n${lines}\n]\n`
}

function writeGenerated(target: URL, content: string): void {
  if (existsSync(target) && readFileSync(target, 'utf8') === content) return
  if (process.argv.includes('--check')) {
    console.error(`${basename(target.pathname)} is stale, run \`make generate\``)
    process.exitCode = 1
  } else {
    writeFileSync(target, content)
  }
}
