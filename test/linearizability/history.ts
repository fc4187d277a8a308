/** The history of an address: its requests and responses, in the form that the checker reads. */

import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'

/** A request and its response, as `operation` in checker/history.go. */
export interface Operation {
  name: string
  /** Nanoseconds of one monotonic clock. */
  call: number
  /** Missing: the outcome is unknown. */
  return?: number
  status: number
  by?: string
  session?: string
  account?: string
  password?: string
  newPassword?: string
  token?: string
  listed?: string[]
  absent?: string[]
}

let lastNs = 0
const startedAtNs = process.hrtime.bigint()

/** Nanoseconds, never the same twice. */
export function nowNs(): number {
  lastNs = Math.max(lastNs + 1, Number(process.hrtime.bigint() - startedAtNs))
  return lastNs
}

/** A file with a line for each address. */
export function createHistoryFile(path: string) {
  const stream = createWriteStream(path)
  return {
    path,
    write: (user: string, operations: Operation[]) => void stream.write(`${JSON.stringify({ user, operations })}\n`),
    async close(): Promise<void> {
      stream.end()
      await finished(stream)
    }
  }
}
