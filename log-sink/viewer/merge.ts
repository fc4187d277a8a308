/** Merges parts that are in order into one. */

import { type Entry, entryOrder } from './records.ts'

/** Entries in order; of those that are equal in it, the ones of an earlier part come first. */
export function* merge(parts: Iterator<Entry, void>[]): Generator<Entry, void> {
  const heads = parts.flatMap((rest, part) => {
    const { value: entry } = rest.next()
    return entry ? [{ entry, part, rest }] : []
  })
  type Head = (typeof heads)[number]
  const order = (a: Head, b: Head) => entryOrder(a.entry, b.entry) || a.part - b.part
  heads.sort(order)
  for (;;) {
    const first = heads[0]
    if (first === undefined) return
    yield first.entry
    const { value: entry } = first.rest.next()
    if (!entry) {
      heads.shift()
      continue
    }
    first.entry = entry
    // Parts follow each other in time, more or less: mostly it stays where it is.
    let place = 0
    for (let next = heads[1]; next && order(next, first) < 0; next = heads[place + 1]) heads[place++] = next
    heads[place] = first
  }
}
