/** The most common passwords, from the list in zxcvbn, ordered by frequency. */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const file = fileURLToPath(import.meta.resolve('@zxcvbn-ts/language-common/src/passwords.json'))
const passwords = JSON.parse(readFileSync(file, 'utf8')) as string[]

// One string with a line for each password: a Set takes ten times the memory, and a search takes microseconds.
const common = `\n${passwords.filter((password) => password.length >= 8).join('\n')}\n`

/** Whether a password in lower case is one of the 18,000 most common (OWASP ASVS 6.2.4 requires 3,000). */
export function isCommonPassword(lowerCase: string): boolean {
  return !lowerCase.includes('\n') && common.includes(`\n${lowerCase}\n`)
}
