/** Finds environment variables that resemble the product's and that no key reads, and the nearest name to a misspelt one. */

import { isForeign } from './foreign-variables.ts'

// Shorter names resemble variables of other programs, such as `BLOG_LEVEL`.
const leastLettersToResemble = 10
// Names of sections that other programs use as variables. Any other bare name is a mistake: `KAFKA=off` for a service.
const commonWords = ['LOG', 'MAIL', 'RPC', 'SESSION', 'SHUTDOWN', 'STACK']

/**
 * One line for each variable that no key reads although it has a prefix of the product, differs from a key's variable
 * in one letter, in case or in separators, or is the bare name of a service or engine. The lines contain no value.
 * Variables of other programs that have such a prefix pass (foreign-variables.ts).
 *
 * @param keys the path of each key, by its variable
 * @param sections the sections as variables are written, such as `USER_SVC`
 * @param otherVariables variables that are read beside the keys
 */
export function unknownVariables(
  environment: NodeJS.ProcessEnv,
  keys: ReadonlyMap<string, string>,
  sections: readonly string[],
  otherVariables: readonly string[]
): string[] {
  const known = [...keys.keys(), ...otherVariables]
  const letters = new Set(known.map(lettersOf))
  const resembled = [...letters].filter((name) => name.length >= leastLettersToResemble)
  const isOurs = (name: string) =>
    sections.some((section) => startsWith(name, section) || (name === section && !commonWords.includes(name))) ||
    letters.has(lettersOf(name)) ||
    resembled.some((other) => isWithinOneEdit(lettersOf(name), other))
  return Object.keys(environment)
    .sort()
    .filter((name) => !known.includes(name) && !isForeign(name, environment) && isOurs(name))
    .map((name) => {
      const variable = nearestVariable(name, known, sections)
      const path = keys.get(variable)
      return `${name}: unknown variable, the nearest is ${variable}${path === undefined ? '' : ` (${path})`}`
    })
}

/** Whether a name begins with a section, also without the underscore inside the section's name: `USERSVC_`. */
function startsWith(name: string, section: string): boolean {
  const start = withUnderscores(name)
  return start.startsWith(`${section}_`) || start.startsWith(`${lettersOf(section)}_`)
}

/** The nearest of the variables with the same prefix, or of all if there are none. */
function nearestVariable(name: string, known: readonly string[], sections: readonly string[]): string {
  const written = withUnderscores(name)
  const [section] = sections.filter((each) => `${written}_`.startsWith(`${each}_`)).sort((a, b) => b.length - a.length)
  // `KAFKA=off`
  if (section === written && known.includes(`${section}_ENABLED`)) return `${section}_ENABLED`
  // `GATEWAYS` is near to `GATEWAY`, and a variable of the command.
  const start = section === written ? section : `${section}_`
  return nearest(name, section === undefined ? known : known.filter((each) => each.startsWith(start)))
}

/** The names in each section, by its path, given the paths of all keys; the path of the sections themselves is ''. */
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

/** The name with the fewest edits; of several, the first. */
export function nearest(written: string, names: readonly string[]): string {
  const distances = names.map((name) => editDistance(written.toUpperCase(), name.toUpperCase()))
  return names[distances.indexOf(Math.min(...distances))] ?? ''
}

function lettersOf(name: string): string {
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
