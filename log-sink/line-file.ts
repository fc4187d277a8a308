/** The files of a partition: appended to, made durable, cut back to what counts. */

import { type FileHandle, open, readdir, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import type { FileMark } from './checkpoint.ts'

/** What a file holds; its name begins with it. */
export type FileKind = 'lines' | 'dead-letters'

/** A file that is being appended to. */
export interface LineFile {
  name: string
  path: string
  bytes: number
  /** By the sink's clock, which may have been set since. */
  openedAt: number
  handle: FileHandle
}

/**
 * The times in the names of a sink's files. Names are the order of the files: a new one sorts behind every one before,
 * in all partitions, however the clock was set meanwhile.
 */
export interface NameClock {
  /** The time by the clock, in milliseconds. */
  now(): number
  /** Makes the names that follow sort behind this one. */
  observe(name: string): void
  next(): number
}

// Later years have a sign, which sorts before every digit.
const latestName = Date.UTC(9999, 0)

export function createNameClock(now: () => number): NameClock {
  let last = 0
  return {
    now,
    observe(name) {
      const at = begunAt(name)
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

/** When a file was begun, by its name; compressed or not. */
function begunAt(name: string): number {
  const [, date, hours, minutes, rest] = /-(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(.+?Z)\.ndjson/.exec(name) ?? []
  return Date.parse(`${date}T${hours}:${minutes}:${rest}`)
}

/** The names of the files of a kind that are not compressed, the oldest first. */
export async function plainFiles(directory: string, kind: FileKind): Promise<string[]> {
  const names = await readdir(directory)
  return names.filter((name) => name.startsWith(`${kind}-`) && name.endsWith('.ndjson')).sort()
}

/** Begins a file, under a name that none has had. */
export async function beginFile(directory: string, kind: FileKind, clock: NameClock): Promise<LineFile> {
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

/** Whether a file is older than this. A clock that was set back makes it older, too: then it is closed early, not late. */
export function isOlder({ openedAt }: LineFile, ageMs: number, { now }: NameClock): boolean {
  return Math.abs(now() - openedAt) >= ageMs
}

/** Goes on with a file at the end of what counts of it; nothing if it has been compressed or removed since. */
export async function reopenFile(directory: string, { name, bytes }: FileMark): Promise<LineFile | undefined> {
  const path = join(directory, name)
  try {
    return { name, path, bytes, openedAt: begunAt(name), handle: await open(path, 'r+') }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Writes at the end of what counts, and waits until it is on the disk. What counts grows by that only when it succeeds. */
export async function appendTo(file: LineFile, parts: Buffer[]): Promise<void> {
  const total = parts.reduce((sum, { length }) => sum + length, 0)
  let rest = parts
  let at = file.bytes
  while (rest.length > 0) {
    const { bytesWritten } = await file.handle.writev(rest.slice(0, 512), at)
    at += bytesWritten
    rest = after(rest, bytesWritten)
  }
  await file.handle.datasync()
  file.bytes += total
}

function after(parts: Buffer[], bytes: number): Buffer[] {
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

/** Takes back what was written behind what counts. */
export async function cutBack(file: LineFile): Promise<void> {
  await file.handle.truncate(file.bytes)
}

/** Removes from a directory what is behind the marks: the rest of the marked file of a kind, and every later one. */
export async function cutToMark(directory: string, kind: FileKind, mark: FileMark | undefined): Promise<void> {
  for (const name of await plainFiles(directory, kind)) {
    if (mark === undefined || name > mark.name) await rm(join(directory, name))
    else if (name === mark.name) await truncate(join(directory, name), mark.bytes)
  }
}

/** The last file of a kind, all of which counts. */
export async function lastMark(directory: string, kind: FileKind): Promise<FileMark | undefined> {
  const name = (await plainFiles(directory, kind)).at(-1)
  return name === undefined ? undefined : { name, bytes: (await stat(join(directory, name))).size }
}
