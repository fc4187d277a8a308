/** Compresses files that are complete, and removes the oldest when all of them take more room than they may. */

import { createReadStream, createWriteStream } from 'node:fs'
import { open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import type { Logger } from '#common/logging/logger.ts'
import { syncDirectory } from './checkpoint.ts'

/** Looks after the files of a sink, one after the other. */
export interface Keeper {
  /** Begins to look at all files from time to time; the caller owns the directory from here on. */
  start(): void
  /** Takes files that will never be written to again. */
  take(paths: string[]): void
  /** Ends when what is under way has ended. */
  close(): Promise<void>
}

const lookMs = 60_000

/** @param stored is told how many bytes all files take */
export function keepFiles(directory: string, maxBytes: number, stored: (bytes: number) => void, log: Logger): Keeper {
  let work = Promise.resolve()
  let closed = false
  let timer: NodeJS.Timeout | undefined

  function take(paths: string[]): void {
    work = work.then(async () => {
      for (const path of paths) if (!closed) await attempt(() => compress(path))
      if (!closed) await attempt(removeDrafts)
      if (!closed) await attempt(removeOldest)
    })
  }

  /** What fails is tried again with the files that come next, or at the next start. */
  async function attempt(task: () => Promise<void>): Promise<void> {
    await task().catch((err) =>
      log.error({ event: 'log_file_failed', err }, 'a file of collected lines was left as it is')
    )
  }

  /** Drafts of compression that a killed process left: this one has none between two tasks. */
  async function removeDrafts(): Promise<void> {
    for (const { path } of await filesUnder(directory)) if (draftPattern.test(basename(path))) await rm(path)
  }

  async function removeOldest(): Promise<void> {
    const files = await filesUnder(directory)
    let total = files.reduce((sum, { bytes }) => sum + bytes, 0)
    for (const { path, bytes } of removable(files)) {
      if (total <= maxBytes) break
      await rm(path)
      total -= bytes
      log.info({ event: 'log_file_removed', count: bytes }, 'removed the oldest file of collected lines, to make room')
    }
    stored(total)
  }

  return {
    start() {
      timer = setInterval(() => take([]), lookMs).unref()
      take([])
    },
    take,
    async close() {
      closed = true
      clearInterval(timer)
      await work
    }
  }
}

interface StoredFile {
  path: string
  bytes: number
}

const ownPattern = /^(lines-|dead-letters-|checkpoint\.)/
const draftPattern = /^(lines|dead-letters)-.+\.ndjson\.gz\.tmp$/
const compressedPattern = /^(lines|dead-letters)-.+\.ndjson\.gz$/

/** Compressed files, the oldest first: those that are not compressed are still needed. */
function removable(files: StoredFile[]): StoredFile[] {
  const begun = ({ path }: StoredFile) => basename(path).replace(/^(lines|dead-letters)-/, '')
  return files
    .filter(({ path }) => compressedPattern.test(basename(path)))
    .sort((a, b) => (begun(a) < begun(b) ? -1 : 1))
}

/** The sink's own files: others neither count nor go. */
async function filesUnder(directory: string): Promise<StoredFile[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const own = entries.filter((entry) => entry.isFile() && ownPattern.test(entry.name))
  const files = own.map(({ parentPath, name }) => join(parentPath, name))
  const sizes = await Promise.all(
    files.map((path) =>
      stat(path).then(
        ({ size }) => size,
        () => 0
      )
    )
  )
  return files.map((path, index) => ({ path, bytes: sizes[index] ?? 0 }))
}

// In small pieces it takes twice the time of the processor, and at the usual level 6 half as much again for a file that
// is a twentieth smaller.
const chunkBytes = 256 * 1024

/** Replaces a plain file by a compressed file with the same times: readers derive the age of its lines from them. */
async function compress(path: string): Promise<void> {
  const draft = `${path}.gz.tmp`
  const times = await timesOf(path)
  // A collector hands over the same file again if it settles the partition before the keeper has come to the file.
  if (times === undefined) return
  try {
    await pipeline(
      createReadStream(path, { highWaterMark: chunkBytes }),
      createGzip({ level: 3, memLevel: 9, chunkSize: chunkBytes }),
      createWriteStream(draft, { mode: 0o600 })
    )
    const file = await open(draft, 'r+')
    await file.sync()
    await file.close()
    await utimes(draft, times.atime, times.mtime)
    await rename(draft, `${path}.gz`)
    await syncDirectory(dirname(path))
    await rm(path)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

async function timesOf(path: string): Promise<{ atime: Date; mtime: Date } | undefined> {
  return stat(path).catch((error) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
}
