/** Lines that the brokers reject for their size, in a file beside the sources of a service. */

import { appendFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Both files together take at most this and one line more. */
const maxBytes = 16 * 2 ** 20

/** Writes a line to the dead-letter file of a service, whose older half goes when it is full. */
export function writeDeadLetter(directory: string, source: string, position: number, line: Buffer): void {
  const path = join(directory, 'dead-letters.ndjson')
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size > maxBytes / 2) renameSync(path, join(directory, 'dead-letters.previous.ndjson'))
  const letter = {
    time: new Date().toISOString(),
    reason: 'too_large',
    source,
    position,
    line: line.toString('utf8').trimEnd()
  }
  appendFileSync(path, `${JSON.stringify(letter)}\n`, { mode: 0o600 })
}
