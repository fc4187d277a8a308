/** Reads files of lines, each from where it was left. */

import { stat } from 'node:fs/promises'
import type { Instant } from './instant.ts'
import type { Problem } from './log-files.ts'
import type { Query } from './query.ts'
import { readGzip, readPlain } from './read-bytes.ts'
import { createScanner } from './scan.ts'

/** Takes a line of the file with a number; the bytes are only valid during the call. */
export type FoundIn = (line: Buffer, at: Instant, file: number) => void

// Decompression runs on the threads of the pool, of which there are four.
const atOnce = 4
const clockLeewayMs = 60_000
const done = Number.POSITIVE_INFINITY

interface File {
  path: string
  /** Earlier ones have lower numbers. */
  number: number
  /** The bytes of it that are read. */
  offset: number
}

/** A reader of files that remembers how far it is in each. */
export function createTail(query: Query, problem: Problem) {
  const files = new Map<string, File>()

  function fileAt(path: string): File {
    const file = files.get(path) ?? { path, number: files.size, offset: 0 }
    files.set(path, file)
    return file
  }

  /** Reads on in a file, under the name that it has by now; one that is gone is no problem. */
  async function readOn(file: File, found: FoundIn): Promise<void> {
    if (file.offset === done) return
    for (const compressed of [false, true]) {
      const name = compressed ? `${file.path}.gz` : file.path
      const scanner = createScanner(query, (line, at) => found(line, at, file.number))
      const error = await readBlocks(name, file.offset, compressed, scanner.push)
      if (error?.code === 'ENOENT') continue
      if (error) problem(name, error)
      else if (compressed) scanner.end()
      file.offset = error || compressed ? done : file.offset + scanner.scanned()
      return
    }
  }

  /** @returns what kept the file from being read to its end */
  async function readBlocks(name: string, from: number, compressed: boolean, push: (block: Buffer) => void) {
    try {
      const { mtimeMs, size } = await stat(name)
      const isOld = query.since !== undefined && mtimeMs + clockLeewayMs < query.since.ms
      if (isOld || (!compressed && size <= from)) return undefined
    } catch (error) {
      return error as NodeJS.ErrnoException
    }
    const blocks = compressed ? readGzip(name, from) : readPlain(name, from)
    for (;;) {
      const block = await blocks.next().catch((error: NodeJS.ErrnoException) => error)
      if (block instanceof Error) return block
      if (block.done) return undefined
      push(block.value)
    }
  }

  return {
    /** Reads on in all files of a list, several at once, each in its order. */
    async read(paths: string[], found: FoundIn): Promise<void> {
      const queue = paths.map(fileAt).values()
      const readSome = async () => {
        for (const file of queue) await readOn(file, found)
      }
      await Promise.all(Array.from({ length: atOnce }, readSome))
    }
  }
}
