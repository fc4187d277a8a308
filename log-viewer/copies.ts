/** Recognises copies: a line moves from the spool to the files of a sink, and after a fault to those of another sink. */

import { hash } from 'node:crypto'
import type { Entry } from './reader.ts'

/** A filter that remembers at least `limit` lines: of equal lines, as many pass as are in the place with most of them. */
export function createCopyFilter(limit = 200_000): (entry: Entry) => boolean {
  // Two generations bound the memory: the older one is dropped when the newer one is full.
  let recent = new Map<string, number>()
  let older = new Map<string, number>()
  const get = (key: string) => recent.get(key) ?? older.get(key) ?? 0

  return ({ line, place }) => {
    const digest = hash('sha1', line, 'base64')
    const passed = get(digest)
    const count = passed === 0 ? 1 : get(digest + place) + 1
    recent.set(digest + place, count)
    recent.set(digest, Math.max(count, passed))
    if (recent.size > 2 * limit) {
      older = recent
      recent = new Map()
    }
    return count > passed
  }
}
