/** Merges streams of lines by time. */

import type { Entries, Entry } from './reader.ts'

const byTime = (a: Entry, b: Entry) => a.ms - b.ms

/**
 * A k-way merge of streams that are almost in order: a partition contains the batches of several processes. The merge
 * sorts a window of lines before it emits the earlier half: a line that is late by less than half of the window is in order.
 * Lines of one time keep the order of their stream.
 */
export async function* merge(streams: Entries[], windowBytes = 64 * 2 ** 20): Entries {
  const all = streams.map((stream) => ({ stream, waiting: [] as Entry[] }))
  await Promise.all(all.map(refill))
  const heads = all.filter(({ waiting }) => waiting.length > 0)
  const window: Entry[] = []
  let bytes = 0
  while (heads.length > 0) {
    const head = heads.reduce((first, other) => (timeOf(other) < timeOf(first) ? other : first))
    const entry = head.waiting.pop() as Entry
    window.push(entry)
    bytes += entry.line.length
    if (head.waiting.length === 0) await refill(head)
    if (head.waiting.length === 0) heads.splice(heads.indexOf(head), 1)
    if (bytes < windowBytes) continue
    yield window.sort(byTime).splice(0, Math.ceil(window.length / 2))
    bytes = window.reduce((sum, { line }) => sum + line.length, 0)
  }
  yield window.sort(byTime)
}

/** A stream and its next lines, the earliest of them at the end. */
type Head = { stream: Entries; waiting: Entry[] }

const timeOf = ({ waiting }: Head) => (waiting.at(-1) as Entry).ms

async function refill(head: Head): Promise<void> {
  do {
    const { value, done } = await head.stream.next()
    if (done) return
    head.waiting = value.reverse()
  } while (head.waiting.length === 0)
}
