/** Sorts lines by time in bounded memory: in memory as long as they fit, else in runs on disk that are merged. */

import type { Instant } from './instant.ts'
import { merge } from './merge.ts'
import { allocateRecords, type Entry, getRecord, putRecord, type Records, recordBytes, recordOrder } from './records.ts'
import { readRun, writeRun } from './run.ts'

/** Lines to be sorted. */
export interface Sorter {
  /** Takes a copy of a line. */
  add(line: Buffer, at: Instant, file: number): void
  /** All lines that were added, in order, and those of one time and one file in the order of their coming. Once only. */
  sorted(): Generator<Entry, void>
}

/**
 * An empty sorter.
 *
 * @param memoryBytes the most that it keeps in memory
 */
export function createSorter(memoryBytes: number): Sorter {
  let records: Records | undefined
  let offsets: number[] = []
  let used = 0
  const runs: number[] = []

  function room(size: number): Records {
    if (records && used + size > records.bytes.length) {
      spill(records)
      if (size > records.bytes.length) records = undefined
    }
    // Pages that are not written to are no memory yet.
    records ??= allocateRecords(Math.max(memoryBytes, size))
    return records
  }

  function spill(records: Records): void {
    if (offsets.length > 0) runs.push(writeRun(records, offsets.sort(recordOrder(records))))
    offsets = []
    used = 0
  }

  function* inMemory(records: Records): Generator<Entry, void> {
    for (const offset of offsets.sort(recordOrder(records))) yield getRecord(records, offset)
  }

  return {
    add(line, at, file) {
      const size = recordBytes(line.length)
      putRecord(room(size), used, at, file, line)
      offsets.push(used)
      used += size
    },
    sorted: () => merge([...runs.map(readRun), ...(records ? [inMemory(records)] : [])])
  }
}
