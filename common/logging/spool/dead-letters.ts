/** The dead-letter file of a service: lines that the brokers reject for their size. */

import { appendFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** The limit of both files together; the last line may exceed it. */
const maxBytes = 16 * 2 ** 20

/** Appends a line. A full file becomes the previous file, which is removed. */
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
