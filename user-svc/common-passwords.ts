/** The passwords that everybody tries first; from the list that zxcvbn ships, ordered by how common they are. */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const file = fileURLToPath(import.meta.resolve('@zxcvbn-ts/language-common/src/passwords.json'))
const passwords = JSON.parse(readFileSync(file, 'utf8')) as string[]

// One text with a line for each: a set of them takes ten times the memory, and to search it takes microseconds.
const common = `\n${passwords.filter((password) => password.length >= 8).join('\n')}\n`

/** Whether a password, in lower case, is among some 18,000 of the commonest (OWASP ASVS 6.2.4 asks for 3,000). */
export function isCommonPassword(lowerCase: string): boolean {
  return !lowerCase.includes('\n') && common.includes(`\n${lowerCase}\n`)
}
