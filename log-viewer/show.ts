/** Shows the matching lines of all log files, merged by time, and with FOLLOW the lines that are written later. */

import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { createCopyFilter } from './copies.ts'
import { merge } from './merge.ts'
import type { Query } from './query.ts'
import type { Format } from './readable.ts'
import { createReader, listLogFiles } from './reader.ts'

/** The input and output of `showLogs`. */
export interface ShowOptions {
  query: Query
  /** The folders of the collected lines, and of the lines that are not collected yet. */
  collected: string
  spool: string
  out: Writable
  /** Without a format, lines are written byte for byte. */
  format?: Format | undefined
  say(message: string): void
  /** FOLLOW reads again at this interval until the signal. */
  pollMs?: number
  signal?: AbortSignal
}

// These services exist even if they have not logged yet.
const productServices = ['gateway', 'log-sink', 'session-svc', 'user-svc']

/**
 * Shows the lines.
 *
 * @returns whether all files could be read and all services of the query exist
 * @throws EPIPE when the reader of `out` has closed it
 */
export async function showLogs(options: ShowOptions): Promise<boolean> {
  const { query, collected, spool, out, format, say, pollMs = 300, signal } = options
  const problems = new Set<string>()
  const onProblem = (path: string, error: unknown) => {
    const { code, syscall, message } = error as NodeJS.ErrnoException
    if (!problems.has(path)) say(`${path}: cannot be read (${syscall ? code : message})`)
    problems.add(path)
  }
  const reader = createReader(query, onProblem)
  const isNew = createCopyFilter()

  /** Shows the lines that were not read yet. @returns their number */
  async function showUnread(): Promise<number> {
    let count = 0
    // The spool is opened first: a line that leaves it afterwards is read from the open file.
    const spooled = await Promise.all(listLogFiles(spool, onProblem).map(reader.openAll))
    for await (const entries of merge([...listLogFiles(collected, onProblem).map(reader.openInTurn), ...spooled])) {
      const lines = entries.filter(isNew).map(({ line }) => line)
      count += lines.length
      const bytes = format ? Buffer.from(lines.map(format).join('')) : Buffer.concat(lines)
      await new Promise<void>((resolve, reject) => out.write(bytes, (error) => (error ? reject(error) : resolve())))
    }
    return count
  }

  const count = await showUnread()
  const known = new Set([...productServices, ...reader.services])
  const unknown = (query.services ?? []).filter((name) => !known.has(name))
  const services = [...known].sort().join(', ')
  if (unknown.length > 0) say(`SERVICE: no log line of ${unknown.join(', ')}; there are ${services}`)
  else if (count === 0) say(`no matching log line${query.follow ? ' yet' : ''} in ${collected} and ${spool}`)
  while (query.follow && !signal?.aborted) {
    await sleep(pollMs)
    await showUnread()
  }
  return problems.size === 0 && unknown.length === 0
}
