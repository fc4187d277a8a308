/** Shows the lines that are asked for: those that are there, and then, if wanted, those that come. */

import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { beginning, type Instant, isBefore } from './instant.ts'
import { listCollected, listSpooled } from './log-files.ts'
import { firstSegment, once } from './once.ts'
import { createOutput } from './output.ts'
import { filters, type Query } from './query.ts'
import type { Format } from './readable.ts'
import { createShown, recentLines } from './shown.ts'
import { createSorter, type Sorter } from './sorter.ts'
import { createTail, type TailedFile } from './tail.ts'

/** What is shown, of what, where and how. */
export interface Showing {
  query: Query
  /** The folder of the collected lines. */
  collected: string
  /** The folder of the lines that are not collected yet. */
  spool: string
  out: Writable
  /** Without one, lines are shown byte for byte. */
  format?: Format | undefined
  /** Takes what is not a line, such as why a file cannot be read. */
  say(message: string): void
  /** The most that is sorted in memory. */
  memoryBytes?: number
  /** The time between two looks for new lines. */
  pollMs?: number
  /** Ends the following. */
  signal?: AbortSignal
}

const followMemoryBytes = 8 * 2 ** 20

/**
 * Shows the lines. A line that moves from the spool to the collected files meanwhile is shown once: the spool is read
 * before the collected files, so that none is missed, and what is found in both is left out once.
 *
 * @returns whether all files could be read
 */
export async function showLogs(showing: Showing): Promise<boolean> {
  const { query, collected, spool, say, signal, memoryBytes = 200 * 2 ** 20, pollMs = 300 } = showing
  const problems = new Set<string>()
  const problem = (path: string, error: unknown) => {
    if (!problems.has(path)) say(`${path}: cannot be read (${reason(error)})`)
    problems.add(path)
  }
  const tail = createTail(query, problem)
  const output = createOutput(showing.out, showing.format)
  const shown = createShown()

  const files: TailedFile[] = []
  const readSpool = (batch: Batch) =>
    tail.read(listSpooled(spool, problem), (line, at, file) => batch.add(line, at, firstSegment + file.number))
  const readCollected = (batch: Batch) =>
    tail.read(listCollected(collected, problem), (line, at, file) => {
      files[file.number] = file
      if (!shown.comesAgain(line, file.place)) batch.add(line, at, file.number)
    })

  async function show(batch: Batch): Promise<void> {
    let toCome = batch.count()
    for (const { line, file } of batch.sorted()) {
      if (query.follow) remember(line, file, toCome--)
      const full = output.write(line)
      if (full) await full
    }
    await output.flush()
  }

  function remember(line: Buffer, file: number, toCome: number): void {
    if (file >= firstSegment) shown.addSpooled(line)
    else if (toCome <= recentLines) shown.addCollected(line, files[file]?.place as number)
  }

  let batch = createBatch(createSorter(memoryBytes))
  await readSpool(batch)
  await readCollected(batch)
  if (query.follow) await readSpool(batch)
  if (batch.count() === 0) {
    say(`no ${filters(query) ? 'matching ' : ''}log line${query.follow ? ' yet' : ''} in ${collected} and ${spool}`)
  }
  await show(batch)
  while (query.follow && !signal?.aborted) {
    await sleep(pollMs)
    batch = createBatch(createSorter(followMemoryBytes))
    // In this order: what was collected before the spool is read is in it now, or has been read from it before.
    await readCollected(batch)
    await readSpool(batch)
    if (batch.count() > 0) await show(batch)
  }
  return problems.size === 0
}

type Batch = ReturnType<typeof createBatch>

/** Lines that are shown together, in order. */
function createBatch(sorter: Sorter) {
  let count = 0
  let span: { from: Instant; to: Instant } | undefined
  return {
    count: () => count,
    add(line: Buffer, at: Instant, file: number) {
      sorter.add(line, at, file)
      count++
      if (file < firstSegment) return
      span ??= { from: at, to: beginning }
      if (isBefore(at, span.from)) span.from = at
      if (isBefore(span.to, at)) span.to = at
    },
    sorted: () => (span ? once(sorter.sorted(), span) : sorter.sorted())
  }
}

/** What went wrong, in a few words: of the decompression, its own; of the system, a code. */
function reason(error: unknown): string {
  const { code, syscall, message } = error as NodeJS.ErrnoException
  return syscall && code ? code : message
}
