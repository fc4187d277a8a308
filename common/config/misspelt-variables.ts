/** Finds environment variables that look like the product's and that nothing reads, and the nearest name to a misspelt one. */

import { isForeign } from './foreign-variables.ts'

/** A variable that nothing reads, and the one that it probably was meant to be. */
export interface UnknownVariable {
  name: string
  nearest: string
}

// Sections whose bare names belong to the product: `GATEWAY=2` was meant to be `GATEWAYS=2`.
const bareNames = ['GATEWAY', 'USER_SVC', 'SESSION_SVC', 'LOG_SINK', 'KAFKA', 'REDIS']
// Shorter names resemble variables of other programs, such as `BLOG_LEVEL`.
const leastLettersToResemble = 10

/**
 * The first variable that nothing reads although it has a prefix of the product, differs from a key's variable in one
 * letter, in case or in separators, or is the bare name of a service or engine. Variables of other programs that
 * carry such a prefix pass (config-foreign.ts).
 *
 * @param known the variables that are read
 * @param prefixes each with its underscore, such as `GATEWAY_`
 */
export function unknownVariable(
  environment: NodeJS.ProcessEnv,
  known: ReadonlySet<string>,
  prefixes: readonly string[]
): UnknownVariable | undefined {
  const spelt = new Set([...known].map(letters))
  const resembled = [...spelt].filter((name) => name.length >= leastLettersToResemble)
  // Also without the underscore within a section's name: `USERSVC_`.
  const starts = prefixes.flatMap((prefix) => [prefix, `${letters(prefix)}_`])
  for (const name of Object.keys(environment).sort()) {
    if (known.has(name) || isForeign(name, environment)) continue
    const isOurs =
      bareNames.includes(name) ||
      starts.some((start) => withUnderscores(name).startsWith(start)) ||
      spelt.has(letters(name)) ||
      resembled.some((other) => isWithinOneEdit(letters(name), other))
    if (isOurs) return { name, nearest: nearestVariable(name, [...known], prefixes) }
  }
  return undefined
}

/** Of the variables with the same prefix, or of all if there are none; `GATEWAYS` is one of those of `GATEWAY`. */
function nearestVariable(written: string, known: string[], prefixes: readonly string[]): string {
  const name = withUnderscores(written)
  const [prefix] = prefixes.filter((each) => `${name}_`.startsWith(each)).sort((a, b) => b.length - a.length)
  const start = prefix === `${name}_` ? name : prefix
  return nearest(written, start === undefined ? known : known.filter((each) => each.startsWith(start)))
}

/** The names in each section, by its path, given the paths of all keys; the sections themselves are those of ''. */
export function namesBySection(paths: Iterable<string>): Map<string, string[]> {
  const sections = new Map<string, string[]>()
  for (const path of paths) {
    const names = path.split('.')
    for (const [depth, name] of names.entries()) {
      const section = names.slice(0, depth).join('.')
      const siblings = sections.get(section) ?? []
      if (!siblings.includes(name)) sections.set(section, [...siblings, name])
    }
  }
  return sections
}

/** The name that takes the fewest changes of letters; of several, the first. */
export function nearest(written: string, names: readonly string[]): string {
  const distances = names.map((name) => editDistance(written.toUpperCase(), name.toUpperCase()))
  return names[distances.indexOf(Math.min(...distances))] ?? ''
}

function letters(name: string): string {
  return withUnderscores(name).replaceAll('_', '')
}

/** `gateway.rate-limit` as a variable is written. */
function withUnderscores(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9]+/g, '_').toUpperCase()
}

function isWithinOneEdit(one: string, other: string): boolean {
  return Math.abs(one.length - other.length) <= 1 && editDistance(one, other) <= 1
}

/** Insertions, deletions, replacements and swaps of neighbours that turn one text into another. */
export function editDistance(from: string, to: string): number {
  let previous: number[] = []
  let current = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row += 1) {
    const next = [row]
    for (let column = 1; column <= to.length; column += 1) {
      const replaced = (current[column - 1] as number) + (from[row - 1] === to[column - 1] ? 0 : 1)
      let least = Math.min(replaced, (current[column] as number) + 1, (next[column - 1] as number) + 1)
      const isSwap = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      if (isSwap) least = Math.min(least, (previous[column - 2] as number) + 1)
      next.push(least)
    }
    previous = current
    current = next
  }
  return current[to.length] as number
}
