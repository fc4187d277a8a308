/** The 35,784 most common passwords of two counts of breaches; common-passwords.md has the sources. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

// One string with a line for each password, 309 KB: a Set takes ten times the memory, and a search takes 0.1 ms.
let lines: string | undefined

/** @param folded the password as `foldPassword` returns it */
export function isCommonPassword(folded: string): boolean {
  // At the first use, in 2 ms: most processes of a test or a migration check no new password.
  lines ??= gunzipSync(readFileSync(join(import.meta.dirname, 'common-passwords.txt.gz'))).toString('latin1')
  return !folded.includes('\n') && lines.includes(`\n${folded}\n`)
}
