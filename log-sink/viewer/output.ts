/** Writes lines in large pieces, no faster than they are taken. */

import type { Writable } from 'node:stream'
import type { Format } from './readable.ts'

const blockBytes = 2 ** 20

/** Takes lines for a stream. */
export interface Output {
  /** @returns what has to be waited for before the next line, if anything */
  write(line: Buffer): Promise<void> | undefined
  /** Resolves when everything is written; rejects when it cannot be, with EPIPE when nobody reads it any more. */
  flush(): Promise<void>
}

/** The output to a stream, in a format or byte for byte. */
export function createOutput(stream: Writable, format: Format | undefined): Output {
  const block = Buffer.allocUnsafe(blockBytes)
  let used = 0

  const send = (bytes: Buffer) =>
    new Promise<void>((resolve, reject) => {
      stream.write(bytes, (error) => (error ? reject(error) : resolve()))
    })

  async function flush(more?: Buffer): Promise<void> {
    if (used > 0) await send(block.subarray(0, used))
    used = 0
    if (more) await (more.length > blockBytes ? send(more) : keep(more))
    // Streams to files and pipes write at once: without this, no signal would be heard until the end.
    await new Promise(setImmediate)
  }

  function keep(bytes: Buffer): void {
    used += bytes.copy(block, used)
  }

  return {
    write(line) {
      const bytes = format ? Buffer.from(format(line)) : line
      if (used + bytes.length > blockBytes) return flush(bytes)
      keep(bytes)
      return undefined
    },
    flush: () => flush()
  }
}
