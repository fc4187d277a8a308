/**
 * What every route answers under every fault. For each target and fault, what comes at once, and what comes when the
 * fault is known. A cell names the statuses and how long the answer may take: `fast`, or the `budget` of the route.
 * `up` is what `dependency_up` says in the services that call the target.
 */

import type { Fault, Target } from './laboratory.ts'
import { type ProbeName, probeNames } from './probes.ts'

const table = `
                             | up | POST /reg      | POST /auth     | wrong password | GET /session   | ended session  | DELETE /logout | DELETE /delete
postgres
  absent at start | at once  |    | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503 fast
  killed          | at once  |    | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503,504 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503 fast
  frozen          | at once  |    | 504 budget     | 504 budget     | 504 budget     | 200 fast       | 401 fast       | 204 fast       | 504 budget
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503 fast
  slow            | at once  |    | 201 budget     | 200 budget     | 401 budget     | 200 fast       | 401 fast       | 204 fast       | 204 budget
                  | then     | 1  | 201 budget     | 200 budget     | 401 budget     | 200 fast       | 401 fast       | 204 fast       | 204 budget
  resetting       | at once  |    | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503,504 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503 fast
  back and empty  | then     | 1  | 201 fast       | 401 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
redis
  absent at start | at once  |    | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  killed          | at once  |    | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503,504 fast   | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  frozen          | at once  |    | 503,504 budget | 503,504 budget | 401,503 budget | 503 budget     | 503 budget     | 503,504 budget | 503 budget
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  slow            | at once  |    | 201 budget     | 200 budget     | 401 fast       | 200 budget     | 401 budget     | 204 budget     | 204 budget
                  | then     | 1  | 201 budget     | 200 budget     | 401 fast       | 200 budget     | 401 budget     | 204 budget     | 204 budget
  resetting       | at once  |    | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503,504 fast   | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  back and empty  | then     | 1  | 201 fast       | 200 fast       | 401 fast       | 401 fast       | 401 fast       | 204 fast       | 401 fast
kafka
  absent at start | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  killed          | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  frozen          | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  slow            | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 1  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  resetting       | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  back and empty  | then     | 1  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
user-svc
  absent at start | at once  |    | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 503 fast       | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 503 fast       | 503 fast
  killed          | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast   | 200 fast       | 401 fast       | 503,504 fast   | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 503 fast       | 503 fast
  frozen          | at once  |    | 503,504 budget | 503,504 budget | 503,504 budget | 200 fast       | 401 fast       | 503,504 budget | 503,504 budget
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 503 fast       | 503 fast
  slow            | at once  |    | 201 budget     | 200 budget     | 401 budget     | 200 fast       | 401 fast       | 204 budget     | 204 budget
                  | then     | 1  | 201 budget     | 200 budget     | 401 budget     | 200 fast       | 401 fast       | 204 budget     | 204 budget
  resetting       | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast   | 200 fast       | 401 fast       | 503,504 fast   | 503,504 fast
                  | then     | 0  | 503,504 fast   | 503,504 fast   | 503,504 fast   | 200 fast       | 401 fast       | 503,504 fast   | 503,504 fast
  back and empty  | then     | 1  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
session-svc
  absent at start | at once  |    | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  killed          | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast   | 503 fast       | 503 fast       | 503,504 fast   | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  frozen          | at once  |    | 503,504 budget | 503,504 budget | 503,504 budget | 503 budget     | 503 budget     | 503,504 budget | 503 budget
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  slow            | at once  |    | 201 budget     | 200 budget     | 401 budget     | 200 budget     | 401 budget     | 204 budget     | 204 budget
                  | then     | 1  | 201 budget     | 200 budget     | 401 budget     | 200 budget     | 401 budget     | 204 budget     | 204 budget
  resetting       | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast   | 503 fast       | 503 fast       | 503,504 fast   | 503 fast
                  | then     | 0  | 503,504 fast   | 503,504 fast   | 503,504 fast   | 503 fast       | 503 fast       | 503,504 fast   | 503 fast
  back and empty  | then     | 1  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
`

/** What a request may be answered. */
export interface Expected {
  statuses: number[]
  time: 'fast' | 'budget'
}

/** What is expected of one fault. */
export interface Expectation {
  target: Target
  fault: Fault
  atOnce: Record<ProbeName, Expected> | undefined
  then: Record<ProbeName, Expected>
  up: number
}

function readCell(text: string): Expected {
  const [, statuses, time] = /^([\d,]+) (fast|budget)$/.exec(text) ?? []
  if (statuses === undefined) throw new Error(`the table has a cell that cannot be read: ${text}`)
  return { statuses: statuses.split(',').map(Number), time: time as Expected['time'] }
}

function readTable(): Expectation[] {
  const [heading = '', ...lines] = table.split('\n').filter((line) => line.trim() !== '')
  const names = heading.split('|').slice(2)
  if (names.map((name) => name.trim()).join() !== probeNames.join()) throw new Error('the table has other columns')
  const expectations: Expectation[] = []
  let target: Target | undefined
  let fault = ''
  let atOnce: Expectation['atOnce']
  for (const line of lines) {
    if (!line.startsWith(' ')) {
      target = line.trim() as Target
      continue
    }
    const [first = '', when, up, ...cells] = line.split('|').map((cell) => cell.trim())
    fault = first || fault
    const expected = Object.fromEntries(probeNames.map((name, index) => [name, readCell(cells[index] ?? '')]))
    if (when === 'at once') {
      atOnce = expected as Record<ProbeName, Expected>
      continue
    }
    const then = expected as Record<ProbeName, Expected>
    expectations.push({ target: target as Target, fault: fault as Fault, atOnce, then, up: Number(up) })
    atOnce = undefined
  }
  return expectations
}

export const expectations = readTable()
