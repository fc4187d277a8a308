/** Builds HTTP/2 frames and header blocks by hand (RFC 9113, RFC 7541), so that they may be wrong. */

export const types = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9
} as const
export const flags = { endStream: 1, ack: 1, endHeaders: 4 } as const
export const settings = { tableSize: 1, enablePush: 2, maxStreams: 3, initialWindow: 4, maxFrame: 5 } as const

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

interface Frame {
  type: number
  flags?: number
  stream?: number
  payload?: Buffer
  /** If it is not that of the payload. */
  length?: number
}

export function frame({
  type,
  flags = 0,
  stream = 0,
  payload = Buffer.alloc(0),
  length = payload.length
}: Frame): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function settingsFrame(values: Partial<Record<number, number>>): Buffer {
  const payload = Object.entries(values).map(([id, value = 0]) => {
    const bytes = Buffer.alloc(6)
    bytes.writeUInt16BE(Number(id), 0)
    bytes.writeUInt32BE(value, 2)
    return bytes
  })
  return frame({ type: types.settings, payload: Buffer.concat(payload) })
}

export const windowUpdate = (stream: number, increment: number) =>
  frame({ type: types.windowUpdate, stream, payload: uint32(increment) })

export const resetFrame = (stream: number, code = 8) => frame({ type: types.reset, stream, payload: uint32(code) })

/** An integer with a prefix of some bits (RFC 7541, 5.1). */
export function integer(value: number, prefixBits: number, first = 0): Buffer {
  const max = 2 ** prefixBits - 1
  if (value < max) return Buffer.from([first | value])
  const bytes = [first | max]
  let left = value - max
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) | 128)
  return Buffer.from([...bytes, left])
}

const text = (value: string) => Buffer.concat([integer(value.length, 7), Buffer.from(value)])

/** A header that is not indexed. */
export const literal = (name: string, value: string) => Buffer.concat([Buffer.from([0]), text(name), text(value)])
/** A header that enters the dynamic table. */
export const indexedLiteral = (name: string, value: string) =>
  Buffer.concat([Buffer.from([0x40]), text(name), text(value)])
/** A reference to the newest entry of the dynamic table. */
export const newestEntry = integer(62, 7, 0x80)

export function headerBlock(path: string, more: Record<string, string> = {}): Buffer {
  const fields = {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': path,
    ':authority': 'localhost',
    'content-type': 'application/json',
    ...more
  }
  return Buffer.concat(Object.entries(fields).map(([name, value]) => literal(name, value)))
}

/** The HEADERS of a call. */
export function headersFrame(stream: number, block: Buffer, set: number = flags.endHeaders | flags.endStream): Buffer {
  return frame({ type: types.headers, flags: set, stream, payload: block })
}
