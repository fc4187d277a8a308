/** Finds passwords of engines that are short, samples, names, or words with digits. */

import { sampleProblem } from './secret-samples.ts'

const minLength = 12
// The longest first. A shorter word occurs in random text by chance.
const words =
  /postgresql|production|postgres|password|database|internal|service|gateway|session|default|welcome|master|server|secret|system|admin|redis|kafka|login|local|root|user|mail|auth|test|svc/g
// Random text of a usual length has digits between its letters, or two cases.
const wordWithDigits = /^[A-Z]?[a-z\W_]*[\d\W_]*$|^[A-Z\W_]*[\d\W_]*$/

/**
 * Why production refuses a password; undefined if it accepts it.
 *
 * @param users the names of all logins of the service
 */
export function passwordProblem(password: string, users: readonly string[]): string | undefined {
  if (password.length < minLength) {
    return `has a password of fewer than ${minLength} characters, which production does not allow`
  }
  if (sampleProblem(password)) return 'has a sample password, which production does not allow'
  if (wordWithDigits.test(password) || isMostlyNames(password, users)) {
    return 'has a password made of names, words or digits, which production does not allow'
  }
  return undefined
}

/** Whether fewer characters than a password needs are left without the words and the parts of the users' names. */
function isMostlyNames(password: string, users: readonly string[]): boolean {
  const folded = foldedText(password)
  const names = users
    .flatMap((user) => user.split(/[^\p{L}\p{N}]+/u).map(foldedText))
    .filter((name) => name.length >= 3)
  const left = names
    .sort((a, b) => b.length - a.length)
    .reduce((text, name) => text.replaceAll(name, ' '), folded)
    .replaceAll(words, ' ')
    .replaceAll(' ', '')
  return left !== folded && left.length < minLength
}

const foldedText = (text: string) =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, '')
