/**
 * Reads the fault matrix. A new route gets a column: an entry in columns.ts, and a cell in each row of a table in
 * expected-responses.ts; then `make test-faults PAGE=1` writes the page.
 */

import { type ProbeName, probeNames } from './columns.ts'
import { accountTable, sessionTable } from './expected-responses.ts'
import type { Fault, Target } from './targets.ts'

/** The permitted statuses and time of a response. */
interface Expected {
  statuses: number[]
  time: 'fast' | 'budget'
}

export interface Expectation {
  target: Target
  fault: Fault
  atOnce: Record<ProbeName, Expected> | undefined
  detected: Record<ProbeName, Expected>
  up: number
}

function readCell(text: string): Expected {
  const [, statuses, time] = /^([\d,]+) (fast|budget)$/.exec(text) ?? []
  if (statuses === undefined) throw new Error(`invalid cell in the fault matrix: ${text}`)
  return { statuses: statuses.split(',').map(Number), time: time as Expected['time'] }
}

/** The rows of a table, by target and fault: the cells of each phase, and the value of `up`. */
function readTable(table: string): Map<string, Row> {
  const [heading = '', ...lines] = table.split('\n').filter((line) => line.trim() !== '')
  const cellsOf = (line: string) => line.split('|').map((cell) => cell.trim())
  const names = cellsOf(heading).slice(2)
  const rows = new Map<string, Row>()
  let target = ''
  let fault = ''
  for (const line of lines) {
    const [first = '', phase, up, ...cells] = cellsOf(line)
    if (!line.startsWith(' ')) {
      target = first
      continue
    }
    fault = first || fault
    const row = rows.get(`${target}/${fault}`) ?? { target: target as Target, fault: fault as Fault, up: 0 }
    const expected = Object.fromEntries(names.map((name, index) => [name, readCell(cells[index] ?? '')]))
    if (phase === 'at once') row.atOnce = expected
    else Object.assign(row, { detected: expected, up: Number(up) })
    rows.set(`${target}/${fault}`, row)
  }
  return rows
}

interface Row {
  target: Target
  fault: Fault
  up: number
  atOnce?: Record<string, Expected>
  detected?: Record<string, Expected>
}

function readTables(): Expectation[] {
  const more = readTable(accountTable)
  return [...readTable(sessionTable)].map(([key, { target, fault, up, atOnce, detected }]) => {
    const others = more.get(key)
    const merged = { ...detected, ...others?.detected }
    if (Object.keys(merged).join() !== probeNames.join()) {
      throw new Error(`the columns of the fault matrix differ from \`columns\` in the row ${key}`)
    }
    return {
      ...{ target, fault, up },
      atOnce: atOnce && ({ ...atOnce, ...others?.atOnce } as Expectation['detected']),
      detected: merged as Expectation['detected']
    }
  })
}

export const expectations = readTables()
