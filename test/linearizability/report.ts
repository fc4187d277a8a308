/** Prints the result of a check of linearizability. */

import type { LinearizabilityResult } from './check.ts'
import type { Checked } from './checker.ts'
import type { Operation } from './history.ts'

const maxShown = 3

/** The successes of the operations: a run without one of them checks less than it claims. */
const successes = [
  ...['register 201', 'login 200', 'login replacing 200', 'validate 200', 'list 200', 'account 200', 'change 200'],
  ...['reset 204', 'logout 204', 'end one 204', 'end others 204', 'end all 200', 'delete 204']
]

/** The successes that no operation of a run had. */
export function unseen({ counts }: Pick<LinearizabilityResult, 'counts'>): string[] {
  return successes.filter((success) => !counts.has(success))
}

export function printResult(result: LinearizabilityResult, seed: number, print: (line: string) => void): void {
  const { operations, addresses, faults, counts, violations, historyPath } = result
  for (const [name, count] of [...counts].sort(([a], [b]) => a.localeCompare(b))) print(`  ${name}: ${count}`)
  for (const violation of violations.slice(0, maxShown)) print(describe(violation))
  print(
    `SEED=${seed}: ${operations} operations of ${addresses} addresses during ${faults} faults; ${violations.length} histories are not linearizable`
  )
  if (violations.length > 0) print(`histories: ${historyPath}`)
}

/** The operations of a history in the order of their calls. */
export function describe({ user, result, history, longest = [] }: Checked): string {
  const lines = (history?.operations ?? [])
    .map((operation, index) => ({ operation, index }))
    .sort((a, b) => a.operation.call - b.operation.call)
    .map(({ operation, index }) => `  ${index} ${describeOperation(operation)}`)
  return [`${user}: ${result}`, ...lines, `  longest order: ${longest.slice(-6).join('; ')}`].join('\n')
}

function describeOperation({ name, call, return: end, status, ...others }: Operation): string {
  const ms = (ns: number | undefined) => (ns === undefined ? '?' : (ns / 1e6).toFixed(1))
  const { listed, absent, ...shown } = others
  return `${ms(call)}-${ms(end)} ${name} ${status} ${JSON.stringify(shown)}`
}
