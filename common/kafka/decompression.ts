/** Decompresses the records of a batch, up to a limit: 19 KB of zstd can hold 600 MiB. */

import { constants, gunzipSync, zstdDecompressSync } from 'node:zlib'

// The window of a frame is allocated before its content is known. zstd needs a larger one from level 20 on.
const maxWindowLog = 23

const decoders: ((bytes: Buffer, maxOutputLength: number) => Buffer)[] = [
  (bytes) => bytes,
  (bytes, maxOutputLength) => gunzipSync(bytes, { maxOutputLength }),
  refuse('snappy'),
  refuse('lz4'),
  (bytes, maxOutputLength) =>
    zstdDecompressSync(bytes, { maxOutputLength, params: { [constants.ZSTD_d_windowLogMax]: maxWindowLog } })
]

/**
 * Synchronous, so that the thread pool stays free for requests.
 *
 * @param codec the compression type of Kafka's record batches
 * @throws {Error} for a codec that is not supported, malformed bytes, and content of more than `maxBytes`
 */
export function decompress(codec: number, bytes: Buffer, maxBytes: number): Buffer {
  const decode = decoders[codec] ?? refuse(`type ${codec}`)
  try {
    return decode(bytes, maxBytes)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ERR_BUFFER_TOO_LARGE') throw new Error(`the batch has more than ${maxBytes} bytes`)
    throw code === undefined ? error : new Error(`the batch cannot be decompressed (${code})`)
  }
}

function refuse(name: string) {
  return (): never => {
    throw new Error(`the compression ${name} is not supported`)
  }
}
