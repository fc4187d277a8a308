/**
 * The fault matrix: the response of every route under every fault. A new route gets a column: an entry in `columns`, and a
 * cell in each row of the table; then `make test-faults PAGE=1` writes the page. Its request can be a line with `ledger.send`, or a function in requests.ts that checks
 * invariants of its own.
 *
 * Each fault has a row for the responses right after the fault (`at once`) and a row for the responses after the services
 * have detected it (`then`). A cell names the permitted statuses and the permitted time: `fast`, or the `budget` of the
 * route. `up` is the value of `dependency_up` in the services that call the target.
 */

import type { Fixtures } from './fixtures.ts'
import type { Ledger } from './ledger.ts'
import { deleteAccount, logIn, logOut, register, validate, wrongPassword } from './requests.ts'
import type { Fault, Target } from './targets.ts'

interface Column {
  route: string
  send(ledger: Ledger, fixtures: Fixtures): Promise<{ status: number }>
}

export const columns = {
  'POST /reg': { route: 'POST /reg', send: (ledger) => register(ledger) },
  'POST /auth': { route: 'POST /auth', send: (ledger, { account }) => logIn(ledger, account) },
  'wrong password': { route: 'POST /auth', send: (ledger, { account }) => logIn(ledger, account, wrongPassword) },
  'GET /session': { route: 'GET /session', send: (ledger, { session }) => validate(ledger, session) },
  'ended session': { route: 'GET /session', send: (ledger, { ended }) => validate(ledger, ended) },
  'DELETE /logout': { route: 'DELETE /logout', send: (ledger, { toLogOut }) => logOut(ledger, toLogOut) },
  'DELETE /delete': { route: 'DELETE /delete', send: (ledger, { toDelete }) => deleteAccount(ledger, toDelete) }
} as const satisfies Record<string, Column>
export type ProbeName = keyof typeof columns
export const probeNames = Object.keys(columns) as ProbeName[]

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

/** The permitted statuses and time of a response. */
interface Expected {
  statuses: number[]
  time: 'fast' | 'budget'
}

export interface Expectation {
  target: Target
  fault: Fault
  atOnce: Record<ProbeName, Expected> | undefined
  then: Record<ProbeName, Expected>
  up: number
}

function readCell(text: string): Expected {
  const [, statuses, time] = /^([\d,]+) (fast|budget)$/.exec(text) ?? []
  if (statuses === undefined) throw new Error(`invalid cell in the fault matrix: ${text}`)
  return { statuses: statuses.split(',').map(Number), time: time as Expected['time'] }
}

function readTable(): Expectation[] {
  const [heading = '', ...lines] = table.split('\n').filter((line) => line.trim() !== '')
  const names = heading
    .split('|')
    .slice(2)
    .map((name) => name.trim())
  if (names.join() !== probeNames.join()) throw new Error('the columns of the fault matrix differ from `columns`')
  const expectations: Expectation[] = []
  let target = ''
  let fault = ''
  let atOnce: Expectation['atOnce']
  for (const line of lines) {
    const [first = '', phase, up, ...cells] = line.split('|').map((cell) => cell.trim())
    if (!line.startsWith(' ')) {
      target = first
      continue
    }
    fault = first || fault
    const expected = Object.fromEntries(probeNames.map((name, index) => [name, readCell(cells[index] ?? '')]))
    if (phase === 'at once') atOnce = expected as Expectation['then']
    else {
      const then = expected as Expectation['then']
      expectations.push({ target: target as Target, fault: fault as Fault, atOnce, then, up: Number(up) })
      atOnce = undefined
    }
  }
  return expectations
}

export const expectations = readTable()
