/** Writes the configuration reference into README.md, from the schema; `--check` only says whether it is up to date. */

import { readFileSync, writeFileSync } from 'node:fs'
import { forEachKey, type Schema } from '#common/config.ts'
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

const readme = readFileSync(file, 'utf8')
const [before, rest] = readme.split(begin)
const after = rest?.split(end)[1]
if (before === undefined || after === undefined)
  throw new Error('README.md lacks the marks of the configuration reference')
const updated = `${before}${begin}\n\n${reference}\n\n${end}${after}`

if (updated !== readme) {
  if (process.argv.includes('--check')) {
    console.error(`README.md: the configuration reference is stale, run \`make generate\``)
    process.exitCode = 1
  } else {
    writeFileSync(file, updated)
  }
}
