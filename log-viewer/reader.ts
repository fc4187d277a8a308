/** Reads the matching lines of log files, each file from the offset where the previous read ended. */

import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { namesIn } from '#common/logging/spool/layout.ts'
import { type Fields, matches, type Query } from './query.ts'

/** A line, its line end included. */
export interface Entry {
  line: Buffer
  /** Milliseconds since 1970. A line without a readable time has the time of the line before it. */
  ms: number
  /** The id of its file: equal lines in one file are several lines, in two files they are copies. */
  place: string
}

/** How far a file is read. */
interface FileCursor extends Omit<Entry, 'line'> {
  /** The (uncompressed) bytes that are read; infinite once a compressed file is read. */
  offset: number
}

/** Matching lines, block by block. */
export type Entries = AsyncGenerator<Entry[], void>

type OnProblem = (path: string, error: unknown) => void

const blockBytes = 2 ** 20
const clockToleranceMs = 60_000
const lineFeed = 0x0a

// Files of a partition that a sink collected, or segments of a source in the spool.
const logFile = /\/(lines-[^/]+|\d{16})\.ndjson(\.gz)?$/

/** The log files of each folder, oldest first, without `.gz`: while a file is being compressed, both names exist. */
export function listLogFiles(directory: string, onProblem: OnProblem): string[][] {
  function list(path: string): string[] {
    try {
      return namesIn(path).map((name) => join(path, name))
    } catch (error) {
      // The folders contain other files, such as checkpoints.
      if ((error as NodeJS.ErrnoException).code !== 'ENOTDIR') onProblem(path, error)
      return []
    }
  }
  const folders = list(directory).flatMap(list)
  return folders.map((folder) => {
    const paths = list(folder).filter((path) => logFile.test(path))
    return [...new Set(paths.map((path) => path.replace(/\.gz$/, '')))].sort()
  })
}

/** A reader that remembers its offset in each file, and the services of all lines that it parsed. */
export function createReader(query: Query, onProblem: OnProblem) {
  const files = new Map<string, FileCursor>()
  const services = new Set<string>()
  // A search in raw bytes is many times faster than JSON.parse. Foreign producers may write ids in upper case.
  const needles = query.traceId === undefined ? [''] : [query.traceId, query.traceId.toUpperCase()]
  const mayMatch = (bytes: Buffer) => needles.some((needle) => bytes.includes(needle))

  /** Opens a file that has unread bytes. It may have been compressed by now. */
  async function openFile(path: string, name = path): Promise<Entries | undefined> {
    const file = files.get(path) ?? { offset: 0, ms: 0, place: `${files.size}` }
    files.set(path, file)
    try {
      if (file.offset === Number.POSITIVE_INFINITY) return undefined
      const handle = await open(name)
      const { size, mtimeMs } = await handle.stat()
      // A sink cuts back lines that it could not commit, and the next owner of the partition collects them again.
      if (name === path && size < file.offset) Object.assign(file, { offset: size, place: `${file.place}+` })
      const isOld = mtimeMs + clockToleranceMs < (query.sinceMs ?? 0)
      if (!isOld && (name !== path || size > file.offset)) return read(file, name, handle)
      await handle.close()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') onProblem(name, error)
      else if (name === path) return openFile(path, `${path}.gz`)
    }
    return undefined
  }

  async function* read(file: FileCursor, name: string, handle: FileHandle): Entries {
    const isCompressed = name.endsWith('.gz')
    const bytes = handle.createReadStream({ start: isCompressed ? 0 : file.offset, highWaterMark: blockBytes })
    const blocks = isCompressed ? pipeline(bytes, createGunzip({ chunkSize: blockBytes }), () => {}) : bytes
    try {
      for await (const lines of wholeLines(blocks, isCompressed ? file.offset : 0)) {
        file.offset += lines.length
        if (mayMatch(lines)) yield select(lines, file)
      }
    } catch (error) {
      onProblem(name, error)
    }
    if (isCompressed) file.offset = Number.POSITIVE_INFINITY
  }

  function select(lines: Buffer, file: FileCursor): Entry[] {
    const entries: Entry[] = []
    for (let start = 0, end = 0; start < lines.length; start = end) {
      end = lines.indexOf(lineFeed, start) + 1
      const line = lines.subarray(start, end)
      if (!mayMatch(line)) continue
      const fields = parseLine(line) ?? {}
      file.ms = Date.parse(fields.time as string) || file.ms
      services.add(String(fields.service ?? ''))
      // A copy of the line: a slice would keep its whole block in memory.
      if (matches(fields, file.ms, query)) entries.push({ ms: file.ms, line: Buffer.from(line), place: file.place })
    }
    return entries
  }

  async function* readEach(opened: Iterable<Entries | undefined | Promise<Entries | undefined>>): Entries {
    for await (const entries of opened) if (entries) yield* entries
  }

  return {
    services,
    /** Opens all files at once, so that their lines are read even if the files are removed meanwhile. */
    openAll: async (paths: string[]) => readEach(await Promise.all(paths.map((path) => openFile(path)))),
    /** Opens each file when the previous one is read. */
    openInTurn: (paths: string[]) => readEach(paths.values().map((path) => openFile(path)))
  }
}

/** The JSON object of a line; undefined if the line contains none. */
export function parseLine(line: Buffer): Fields | undefined {
  try {
    const value: unknown = JSON.parse(line.toString())
    return value instanceof Object && !Array.isArray(value) ? (value as Fields) : undefined
  } catch {
    return undefined
  }
}

/** Leaves out the first `skip` bytes and cuts the others at line ends. Bytes after the last line end are not returned. */
async function* wholeLines(blocks: AsyncIterable<Buffer>, skip: number): AsyncGenerator<Buffer> {
  const partial: Buffer[] = []
  let toSkip = skip
  for await (const block of blocks) {
    const bytes = block.subarray(toSkip)
    toSkip = Math.max(0, toSkip - block.length)
    const end = bytes.lastIndexOf(lineFeed) + 1
    if (end > 0) yield Buffer.concat([...partial.splice(0), bytes.subarray(0, end)])
    if (end < bytes.length) partial.push(bytes.subarray(end))
  }
}
