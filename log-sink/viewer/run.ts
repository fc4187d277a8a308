/** A sorted part of the lines in a temporary file, for results that do not fit into memory. */

import { randomUUID } from 'node:crypto'
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '#common/config/load.ts'
import { allocateRecords, type Entry, getRecord, lineLength, type Records, recordBytes } from './records.ts'

const blockBytes = 2 ** 20

/**
 * Writes the records at the given offsets, in that order, to a file that is gone when the process is, however it ends.
 *
 * @returns its descriptor
 * @throws {ConfigError} if there is no room
 */
export function writeRun({ bytes, words }: Records, offsets: number[]): number {
  const directory = tmpdir()
  try {
    const path = join(directory, `lines-${randomUUID()}`)
    const fd = openSync(path, 'wx+', 0o600)
    unlinkSync(path)
    const block = Buffer.allocUnsafe(blockBytes)
    let used = 0
    for (const offset of offsets) {
      const size = recordBytes(words[offset / 4 + 4] as number)
      if (used + size > block.length) {
        writeAll(fd, block.subarray(0, used))
        used = 0
      }
      if (size > block.length) writeAll(fd, bytes.subarray(offset, offset + size))
      else used += bytes.copy(block, used, offset, offset + size)
    }
    writeAll(fd, block.subarray(0, used))
    return fd
  } catch (error) {
    throw new ConfigError(`TMPDIR: cannot sort in ${directory} (${(error as NodeJS.ErrnoException).code})`)
  }
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written)
}

/** Reads a run once. */
export function* readRun(fd: number): Generator<Entry, void> {
  let block = allocateRecords(blockBytes)
  let end = readSync(fd, block.bytes, 0, block.bytes.length, 0)
  let position = end
  try {
    while (end > 0) {
      let offset = 0
      for (;;) {
        const length = lineLength(block, offset, end)
        if (length === undefined) break
        yield getRecord(block, offset)
        offset += recordBytes(length)
      }
      // A new block each time: lines that were handed out stay as they are.
      const rest = block.bytes.subarray(offset, end)
      block = allocateRecords(Math.max(blockBytes, rest.length * 2))
      rest.copy(block.bytes)
      const bytesRead = readSync(fd, block.bytes, rest.length, block.bytes.length - rest.length, position)
      position += bytesRead
      end = rest.length + bytesRead
      if (bytesRead === 0) return
    }
  } finally {
    closeSync(fd)
  }
}
