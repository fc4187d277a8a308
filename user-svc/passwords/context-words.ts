/** Finds passwords that consist mostly of words of the service or of the account's address. */

import { foldPassword } from './folded-password.ts'

// A shorter part of an address occurs in many passwords by chance.
const minWordLength = 3
const separators = /[\s._+\-@]+/

/** A phrase, its words, and the phrase without separators. */
export function wordsOf(phrase: string): string[] {
  const folded = foldPassword(phrase)
  return [folded, lettersOf(folded), ...folded.split(separators)]
}

/** The words of an address: its local part, the names of its domain without the last one, and their parts. */
export function wordsOfAddress(email: string): string[] {
  const [local = '', domain = ''] = email.split('@')
  return [...wordsOf(local), ...domain.split('.').slice(0, -1).flatMap(wordsOf)]
}

/**
 * Whether more than half of the characters of a password belong to the words.
 *
 * @param folded the password as `foldPassword` returns it
 */
export function consistsOf(words: readonly string[], folded: string): boolean {
  const whole = lettersOf(folded)
  const used = [...new Set(words.map(lettersOf))]
    .filter((word) => [...word].length >= minWordLength)
    .sort((a, b) => b.length - a.length)
  // A space, so that no new occurrence comes into being.
  const left = used.reduce((text, word) => text.replaceAll(word, ' '), whole).replaceAll(' ', '')
  return [...left].length * 2 < [...whole].length
}

const lettersOf = (text: string) => text.split(separators).join('')
