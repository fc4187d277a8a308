/** Leaves out lines that were read twice, because they moved from the spool to the collected files meanwhile. */

import { type Instant, isBefore } from './instant.ts'
import type { Entry } from './records.ts'

/** Files with this number or a higher one are segments of the spool; they come after all others. */
export const firstSegment = 2 ** 31

/** The times between which there are lines of the spool. */
export interface Span {
  from: Instant
  to: Instant
}

/**
 * Entries in order without the lines of the spool that were collected, too. A line is the same if its bytes are; if it
 * occurs several times, then as often as in the place that has more of them.
 *
 * @param span the times of the lines from the spool; nothing else has to be remembered
 */
export function* once(entries: Iterable<Entry>, span: Span): Generator<Entry, void> {
  let at: Instant | undefined
  let collected: Buffer[] = []
  let counts: Map<string, number> | undefined
  for (const entry of entries) {
    if (at === undefined || isBefore(at, entry)) {
      at = entry
      collected = []
      counts = undefined
    }
    if (entry.file < firstSegment) {
      if (!isBefore(entry, span.from) && !isBefore(span.to, entry)) collected.push(entry.line)
      yield entry
      continue
    }
    counts ??= countEach(collected)
    const text = entry.line.toString('latin1')
    const count = counts.get(text) ?? 0
    if (count > 0) counts.set(text, count - 1)
    else yield entry
  }
}

function countEach(lines: Buffer[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const line of lines) {
    const text = line.toString('latin1')
    counts.set(text, (counts.get(text) ?? 0) + 1)
  }
  return counts
}
