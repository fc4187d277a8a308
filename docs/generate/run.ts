/** Writes the generated pages of docs/reference/, README's table of routes and the catalogue of keys; `--check` only reports the stale ones. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { catalogue, configurationTables } from './configuration.ts'
import { errorTables } from './error-reference.ts'
import { eventSections } from './events.ts'
import { describeGateway } from './gateway.ts'
import { measureTables } from './measures.ts'
import { metricTables } from './metrics.ts'
import { restReference, routeTable } from './rest.ts'
import { rpcSections } from './rpc.ts'

const { document, registry } = await describeGateway()
const [begin, end] = ['<!-- begin: written by make generate -->', '<!-- end: written by make generate -->']

writeGenerated('common/config/catalogue.ts', catalogue())
writeBetweenMarks('docs/reference/configuration.md', configurationTables())
writeBetweenMarks('docs/reference/errors.md', errorTables())
writeBetweenMarks('docs/reference/events.md', eventSections())
writeBetweenMarks('docs/security/measures.md', measureTables())
writeBetweenMarks('docs/reference/metrics.md', metricTables(registry))
writeBetweenMarks('docs/reference/rest.md', restReference(document))
writeBetweenMarks('docs/reference/rpc.md', rpcSections())
writeBetweenMarks('README.md', routeTable(document))

/** Replaces the generated part of a page; the text before and after it is written by hand. */
function writeBetweenMarks(file: string, content: string): void {
  const [before, rest] = readFileSync(fromRoot(file), 'utf8').split(begin)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined) throw new Error(`${file} lacks the marks of its generated part`)
  writeGenerated(file, `${before}${begin}\n\n${content}\n\n${end}${after}`)
}

function writeGenerated(file: string, content: string): void {
  const target = fromRoot(file)
  if (existsSync(target) && readFileSync(target, 'utf8') === content) return
  if (process.argv.includes('--check')) {
    console.error(`${relative('.', target.pathname)} is stale, run \`make generate\``)
    process.exitCode = 1
  } else {
    writeFileSync(target, content)
  }
}

function fromRoot(file: string): URL {
  return new URL(`../../${file}`, import.meta.url)
}
