/** Writes and checks `docs/reference/field-cases.md`: inputs from the field, and the tests that cover each. */

import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type FieldCaseAnswer, fieldCases } from '#common/testing/field-cases.ts'

const pagePath = 'docs/reference/field-cases.md'

const opening = `# Inputs from the field

<!-- Written by \`make test PAGE=1\` from the tests that passed; do not edit. -->

Each case comes from a public report by operators of similar systems, reduced to the smallest input. The kind says how far
the correction reaches. Each answer is the title of a test; \`grep -rn "its text" --include='*.test.ts' .\` finds it.

| case | input | kind | answer |
|---|---|---|---|
`

/** Reads the answers that the tests of a run recorded in a folder. */
export function readAnswers(folder: string): FieldCaseAnswer[] {
  return globSync('*.ndjson', { cwd: folder }).flatMap((file) =>
    readFileSync(join(folder, file), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as FieldCaseAnswer)
  )
}

const cell = (text: string) => text.replaceAll('|', '\\|')

function renderPage(answers: FieldCaseAnswer[]): string {
  const rows = Object.entries(fieldCases).map(([number, { input, kind }]) => {
    const own = answers.filter((each) => each.number === Number(number)).map(({ answer }) => answer)
    const lines = [...new Set(own)].sort().map(cell)
    return `| ${number} | ${cell(input)} | ${cell(kind)} | ${lines.join('<br>')} |\n`
  })
  return opening + rows.join('')
}

/**
 * Compares the committed page with the answers of a whole run.
 *
 * @param someSkipped whether tests were skipped: the page may then have answers that the run does not have
 * @returns the complaint, or undefined
 */
export function comparePage(answers: FieldCaseAnswer[], someSkipped: boolean): string | undefined {
  const committed = existsSync(pagePath) ? readFileSync(pagePath, 'utf8') : ''
  const isFresh = someSkipped
    ? answers.every(({ answer }) => committed.includes(cell(answer)))
    : committed === renderPage(answers)
  return isFresh ? undefined : `${pagePath} is stale: run \`make test PAGE=1\``
}

/** Writes the page from the answers of a whole run. @returns the complaint, or undefined */
export function writePage(answers: FieldCaseAnswer[]): string | undefined {
  const unanswered = Object.keys(fieldCases).filter((number) => !answers.some((each) => each.number === Number(number)))
  if (unanswered.length > 0) return `field cases without a passing test: ${unanswered.join(', ')}`
  mkdirSync(dirname(pagePath), { recursive: true })
  writeFileSync(pagePath, renderPage(answers))
  return undefined
}
