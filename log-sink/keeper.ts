/** Compresses complete files, and removes the oldest ones when all files together exceed a limit. */

import { createReadStream, createWriteStream } from 'node:fs'
import { open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import type { Logger } from '#common/logging/logger.ts'
import { syncDirectory } from './checkpoint-files.ts'

/** Maintains the files of a sink, one after the other. */
export interface Keeper {
  /** Starts to apply the limit once a minute. The caller must own the directory. */
  start(): void
  /** Takes complete files. */
  take(paths: string[]): void
  /** Resolves when the task in progress has ended. */
  close(): Promise<void>
}

const intervalMs = 60_000

/** @param onSize called with the size of all files */
export function keepFiles(directory: string, maxBytes: number, onSize: (bytes: number) => void, log: Logger): Keeper {
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

  /** A failed task is retried with the next files, or at the next start. */
  async function attempt(task: () => Promise<void>): Promise<void> {
    await task().catch((err) =>
      log.error({ event: 'log_file_failed', err }, 'failed to maintain a file of collected lines, will retry')
    )
  }

  /** Removes the drafts of a killed process; this process has none between two tasks. */
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
      log.info({ event: 'log_file_removed', count: bytes }, 'removed the oldest file of collected lines')
    }
    onSize(total)
  }

  return {
    start() {
      timer = setInterval(() => take([]), intervalMs).unref()
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

/** Compressed files, the oldest first. Plain files are still written or compressed. */
function removable(files: StoredFile[]): StoredFile[] {
  const createdAt = ({ path }: StoredFile) => basename(path).replace(/^(lines|dead-letters)-/, '')
  return files
    .filter(({ path }) => compressedPattern.test(basename(path)))
    .sort((a, b) => (createdAt(a) < createdAt(b) ? -1 : 1))
}

/** The files of the sink. Other files are neither counted nor removed. */
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

// Chunks of 16 KiB, the default, take twice the CPU time; level 6, the default, takes half as much again for files that are
// 5 % smaller.
const chunkBytes = 256 * 1024

/** Replaces a plain file by a compressed file with the same times: readers derive the age of its lines from them. */
async function compress(path: string): Promise<void> {
  const draft = `${path}.gz.tmp`
  const times = await timesOf(path)
  // After a recovery the collector passes files again that are already compressed.
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
