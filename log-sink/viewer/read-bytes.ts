/** Reads the bytes of a file, plain or compressed. */

import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'

const blockBytes = 2 ** 20

/** The bytes of a file from an offset to its end, in blocks; each is only valid until the next is asked for. */
export async function* readPlain(path: string, from: number): AsyncGenerator<Buffer, void> {
  const file = await open(path)
  try {
    const block = Buffer.allocUnsafeSlow(blockBytes)
    let position = from
    for (;;) {
      const { bytesRead } = await file.read(block, 0, block.length, position)
      if (bytesRead === 0) return
      position += bytesRead
      yield block.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

/** The same of what a gzip file holds. */
export async function* readGzip(path: string, from: number): AsyncGenerator<Buffer, void> {
  // The default blocks of 16 KiB would cost more in round trips than the decompression itself.
  const unpacked = createGunzip({ chunkSize: blockBytes })
  pipeline(createReadStream(path, { highWaterMark: blockBytes / 4 }), unpacked, () => {})
  let skip = from
  for await (const block of unpacked as AsyncIterable<Buffer>) {
    if (block.length > skip) yield block.subarray(skip)
    skip = Math.max(0, skip - block.length)
  }
}
