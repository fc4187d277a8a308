/** Finds passwords of engines that are short, samples, names, or words with digits. */

import { isSample } from './secret-samples.ts'

const minLength = 12
// The longest first. A shorter word occurs in random text by chance.
const words =
  /postgresql|production|postgres|password|database|internal|service|gateway|session|default|welcome|master|server|secret|system|admin|redis|kafka|login|local|root|user|mail|auth|test|svc/g
// Words have fewer letters. As many random ones of one case have 75 bits.
const minLettersOfOneCase = 16
// Most random text has digits between its letters, or capitals.
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
  if (isSample(password)) return 'has a sample password, which production does not allow'
  if (isMostlyNames(password, users)) {
    return 'has a password made of names or usual words, which production does not allow'
  }
  if (canBeWord(password)) {
    return `has a password that can be a word with digits, which production does not allow; takes at least ${minLettersOfOneCase} letters, or digits between letters`
  }
  return undefined
}

function canBeWord(password: string): boolean {
  const letters = password.match(/\p{L}/gu) ?? []
  return letters.length < minLettersOfOneCase && wordWithDigits.test(password)
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
