/** The table of security requirements: where each is held and which test fails when it is broken. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

const root = join(import.meta.dirname, '../..')
const omissions = 'docs/security/what-we-leave-out.md'

interface Measure {
  requirement: string
  /** Ids of OWASP ASVS 5.0, NIST SP 800-63B-4, a CVE or a finding. */
  id?: string
  /** The file that holds the requirement. */
  held?: string
  /** The files of tests, each with a part of the title of the test. */
  tests?: Record<string, string>
  /** The heading in what-we-leave-out.md. */
  leftOut?: string
}

/**
 * A table for each section of docs/security/measures.yml.
 *
 * @throws Error for a file, a test, a named check or a heading that does not exist, and for a heading without a measure
 */
export function measureTables(): string {
  const sections = parse(readFileSync(join(root, 'docs/security/measures.yml'), 'utf8')) as Record<string, Measure[]>
  const all = Object.values(sections).flat()
  const held = all.filter(({ tests }) => tests !== undefined).length
  for (const heading of readFileSync(join(root, omissions), 'utf8').matchAll(/^## (.*)$/gm)) {
    if (!all.some(({ leftOut }) => leftOut === heading[1]))
      throw new Error(`docs/security/measures.yml has no "${heading[1]}"`)
  }
  const tables = Object.entries(sections).map(([section, measures]) =>
    [
      `\n## ${section}\n`,
      '| requirement | id | held in | test |',
      '|---|---|---|---|',
      ...measures.map((measure) => row(section, measure))
    ].join('\n')
  )
  return [`${all.length} requirements; ${held} have a test.`, ...tables].join('\n')
}

function row(section: string, { requirement, id = '', held, tests = {}, leftOut }: Measure): string {
  if (leftOut === undefined && (held === undefined || Object.keys(tests).length === 0)) {
    throw new Error(`${section}: "${requirement}" needs held and tests, or leftOut`)
  }
  if (held !== undefined) requireText(held, '')
  const cells = Object.entries(tests).map(([file, title]) => {
    requireTest(file, title)
    return `${link(file)}: ${title}`
  })
  if (leftOut !== undefined) {
    requireText(omissions, `## ${leftOut}\n`)
    const anchor = leftOut
      .toLowerCase()
      .replaceAll(/[^a-z0-9 -]/g, '')
      .replaceAll(' ', '-')
    cells.push(`[left out in part: ${leftOut}](what-we-leave-out.md#${anchor})`)
  }
  return `| ${[requirement, id, held === undefined ? '' : link(held), cells.join('<br>')].join(' | ').replaceAll('\n', ' ')} |`
}

const link = (file: string) => `[${file}](../../${file})`

// A title is a literal, or a constant that is one.
const title = /(?:\.test|\bfieldCase)\(\s*(?:\w+,\s*\d+,\s*)?(?:(['"`])((?:\\.|(?!\1)[^\\])*)\1|(\w+))/g
/** Programs whose named checks are the keys of an object. */
const programs = ['test/checks.ts', 'test/security/run.ts']

function requireTest(file: string, part: string): void {
  requireText(file, '')
  const source = readFileSync(join(root, file), 'utf8')
  if (programs.includes(file)) {
    if (new RegExp(`^  (?:'${part}'|${part}): `, 'm').test(source)) return
  } else if (titlesOf(source).some((each) => each.includes(part))) return
  throw new Error(`docs/security/measures.yml: ${file} has no test "${part}"`)
}

function titlesOf(source: string): string[] {
  return [...source.matchAll(title)].map(([, , literal, name]) => {
    if (literal !== undefined) return literal.replaceAll(/\\(.)/g, '$1')
    const [, constant = ''] = new RegExp(`\\bconst ${name} =\\s*['"\`](.*)['"\`]\n`).exec(source) ?? []
    return constant
  })
}

function requireText(file: string, text: string): void {
  const path = join(root, file)
  if (!existsSync(path) || (text !== '' && !readFileSync(path, 'utf8').includes(text))) {
    throw new Error(`docs/security/measures.yml: ${file} ${text === '' ? 'does not exist' : `has no "${text.trim()}"`}`)
  }
}
