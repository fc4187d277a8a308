/** Reads files of lines, each from where it was left. */

import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Instant } from './instant.ts'
import type { Problem } from './log-files.ts'
import type { Query } from './query.ts'
import { readGzip, readPlain } from './read-bytes.ts'
import { createScanner } from './scan.ts'

/** A file of lines. */
export interface TailedFile {
  path: string
  /** Earlier ones have lower numbers. */
  number: number
  /** The bytes of it that are read. */
  offset: number
  /** The same number for the files of a folder, until one of them is cut back. */
  place: number
}

/** Takes a line of a file; the bytes are only valid during the call. */
export type FoundIn = (line: Buffer, at: Instant, file: TailedFile) => void

// Decompression runs on the threads of the pool, of which there are four.
const atOnce = 4
const clockLeewayMs = 60_000
const done = Number.POSITIVE_INFINITY

/** A reader of files that remembers how far it is in each. */
export function createTail(query: Query, problem: Problem) {
  const files = new Map<string, TailedFile>()
  const places = new Map<string, number>()
  let lastPlace = 0

  function fileAt(path: string): TailedFile {
    const known = files.get(path)
    if (known) return known
    const folder = dirname(path)
    if (!places.has(folder)) places.set(folder, ++lastPlace)
    const file = { path, number: files.size, offset: 0, place: places.get(folder) as number }
    files.set(path, file)
    return file
  }

  /** A sink has taken back what it could not commit; what comes now need not be what was there. */
  function cutBack(file: TailedFile, offset: number): void {
    file.offset = offset
    file.place = ++lastPlace
    places.set(dirname(file.path), lastPlace)
  }

  /** Reads on in a file, under the name that it has by now; one that is gone is no problem. */
  async function readOn(file: TailedFile, found: FoundIn): Promise<void> {
    if (file.offset === done) return
    for (const compressed of [false, true]) {
      const name = compressed ? `${file.path}.gz` : file.path
      const scanner = createScanner(query, (line, at) => found(line, at, file))
      const error = await readBlocks(file, compressed, name, scanner.push)
      if (error?.code === 'ENOENT') continue
      if (error) problem(name, error)
      else if (compressed) scanner.end()
      file.offset = compressed ? done : file.offset + scanner.scanned()
      return
    }
  }

  /** @returns what kept the file from being read to its end */
  async function readBlocks(file: TailedFile, compressed: boolean, name: string, push: (block: Buffer) => void) {
    try {
      const { mtimeMs, size } = await stat(name)
      if (!compressed && size < file.offset) cutBack(file, size)
      const isOld = query.since !== undefined && mtimeMs + clockLeewayMs < query.since.ms
      if (isOld || (!compressed && size === file.offset)) return undefined
    } catch (error) {
      return error as NodeJS.ErrnoException
    }
    const blocks = compressed ? readGzip(name, file.offset) : readPlain(name, file.offset)
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
