/** The files of a partition: appended, made durable, cut back to their committed content. */

import { type FileHandle, open, readdir, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import type { FileMark } from './checkpoint.ts'

/** The content of a file, and the start of its name. */
export type FileKind = 'lines' | 'dead-letters'

/** A file that is open for appending. */
export interface LineFile {
  name: string
  path: string
  /** The length of its collected content. */
  bytes: number
  /** By the clock of the sink, which may have been set since. */
  openedAt: number
  handle: FileHandle
}

/**
 * The times in the names of the files of a sink. Files are ordered by name: a new name sorts behind all earlier names, in
 * all partitions, even if the clock is set back.
 */
export interface NameClock {
  /** Milliseconds since 1970. */
  now(): number
  /** Makes new names sort behind this one. */
  observe(name: string): void
  next(): number
}

// Later years are written with a sign, which sorts before digits.
const latestName = Date.UTC(9999, 0)

export function createNameClock(now: () => number): NameClock {
  let last = 0
  return {
    now,
    observe(name) {
      const at = createdAt(name)
      if (at > last) last = at
    },
    next() {
      last = Math.max(last + 1, Math.min(now(), latestName))
      return last
    }
  }
}

function fileName(kind: FileKind, time: number): string {
  return `${kind}-${new Date(time).toISOString().replaceAll(':', '-')}.ndjson`
}

/** The time in the name of a file, plain or compressed. */
function createdAt(name: string): number {
  const [, date, hours, minutes, seconds] = /-(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(.+?Z)\.ndjson/.exec(name) ?? []
  return Date.parse(`${date}T${hours}:${minutes}:${seconds}`)
}

/** The names of the files of a kind that are not compressed, the oldest first. */
export async function plainFiles(directory: string, kind: FileKind): Promise<string[]> {
  const names = await readdir(directory)
  return names.filter((name) => name.startsWith(`${kind}-`) && name.endsWith('.ndjson')).sort()
}

/** Creates a file with a new name. */
export async function createFile(directory: string, kind: FileKind, clock: NameClock): Promise<LineFile> {
  for (;;) {
    const name = fileName(kind, clock.next())
    const path = join(directory, name)
    try {
      const handle = await open(path, 'wx', 0o600)
      return { name, path, bytes: 0, openedAt: clock.now(), handle }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

/** Whether a file is older than `ageMs`. A clock that was set back also makes it older: it is then rotated early, not late. */
export function isOlder({ openedAt }: LineFile, ageMs: number, { now }: NameClock): boolean {
  return Math.abs(now() - openedAt) >= ageMs
}

/** Opens a file to append behind its mark; undefined if it has been compressed or removed since. */
export async function reopenFile(directory: string, { name, bytes }: FileMark): Promise<LineFile | undefined> {
  const path = join(directory, name)
  try {
    return { name, path, bytes, openedAt: createdAt(name), handle: await open(path, 'r+') }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Appends durably. If this fails, `file.bytes` is unchanged and `cutBack` removes a partial write. */
export async function appendTo(file: LineFile, parts: Buffer[]): Promise<void> {
  const total = parts.reduce((sum, { length }) => sum + length, 0)
  let unwritten = parts
  let at = file.bytes
  while (unwritten.length > 0) {
    const { bytesWritten } = await file.handle.writev(unwritten.slice(0, 512), at)
    at += bytesWritten
    unwritten = withoutStart(unwritten, bytesWritten)
  }
  await file.handle.datasync()
  file.bytes += total
}

function withoutStart(parts: Buffer[], bytes: number): Buffer[] {
  let skipped = 0
  const index = parts.findIndex(({ length }) => {
    if (skipped + length > bytes) return true
    skipped += length
    return false
  })
  if (index < 0) return []
  const [first, ...others] = parts.slice(index) as [Buffer, ...Buffer[]]
  return [first.subarray(bytes - skipped), ...others]
}

/** Removes a partial write. */
export async function cutBack(file: LineFile): Promise<void> {
  await file.handle.truncate(file.bytes)
}

/** Removes all content of a kind behind a mark: the end of the marked file, and all later files. */
export async function cutToMark(directory: string, kind: FileKind, mark: FileMark | undefined): Promise<void> {
  for (const name of await plainFiles(directory, kind)) {
    if (mark === undefined || name > mark.name) await rm(join(directory, name))
    else if (name === mark.name) await truncate(join(directory, name), mark.bytes)
  }
}

/** A mark at the end of the last file of a kind. */
export async function lastMark(directory: string, kind: FileKind): Promise<FileMark | undefined> {
  const name = (await plainFiles(directory, kind)).at(-1)
  return name === undefined ? undefined : { name, bytes: (await stat(join(directory, name))).size }
}
