/** A partition on disk for tests, and the commits of its consumer group. */

import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type Committed, decodeCommit } from '../checkpoint.ts'
import { createNameClock } from '../line-file.ts'
import { openPartition, type PartitionOptions } from '../partition-log.ts'
import type { LogRecord } from '../records.ts'

/** A log line without its line end. */
export const line = (text: string) =>
  `{"level":"info","time":"2026-11-24T08:00:00.000Z","service":"svc","instance":"a","msg":"${text}"}`
/** A record of lines of one source. */
export const record = (offset: number, position: number, ...texts: string[]): LogRecord => ({
  offset,
  key: Buffer.from('svc/a'),
  value: Buffer.from(texts.map((text) => `${line(text)}\n`).join('')),
  headers: { position: Buffer.from(String(position)) }
})

/** A partition on disk, with the commits of its group. */
export function newPartition(t: Test) {
  const directory = mkdtempSync(join(tmpdir(), 'partition-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const group: { committed: Committed } = { committed: { offset: -1, commitMetadata: undefined } }
  const complete: string[] = []
  const time = { shiftMs: 0 }
  let clock = createNameClock(() => Date.now() + time.shiftMs)
  const options = (sink: string): PartitionOptions => ({
    sink,
    topic: 'logs',
    partition: 0,
    directory: join(directory, sink),
    rotate: { bytes: 1000, age: 1_000_000 },
    clock,
    untilDone: (operation) => operation(),
    onComplete: (paths) => complete.push(...paths)
  })
  const commit = async (offset: number, metadata: string) => {
    group.committed = { offset, commitMetadata: decodeCommit(metadata) }
  }
  /** Opens the partition as another process, which knows the names on disk. The one before is left as by a kill. */
  async function open(sink: string) {
    clock = createNameClock(() => Date.now() + time.shiftMs)
    const log = await openPartition(options(sink), group.committed)
    t.teardown(log.close)
    return {
      ...log,
      /** Counts the lines of all services together. */
      async collect(...batch: Parameters<typeof log.collect>) {
        const { services, ...counts } = await log.collect(...batch)
        return { ...counts, ...totalOf(Object.values(services)) }
      }
    }
  }
  const texts = (sink: string, kind = 'lines') =>
    globSync(`${kind}-*`, { cwd: join(directory, sink) })
      .sort()
      .flatMap((file) =>
        readFileSync(join(directory, sink, file), 'utf8')
          .split('\n')
          .slice(0, -1)
      )
      .map((text) => JSON.parse(text))
  const messages = (sink: string) => texts(sink).map(({ msg }) => msg)
  return { directory, group, time, complete, options, commit, open, texts, messages }
}

const totalOf = (all: { written: number; duplicates: number }[]) => ({
  written: all.reduce((sum, { written }) => sum + written, 0),
  duplicates: all.reduce((sum, { duplicates }) => sum + duplicates, 0)
})

/** A commit that the group rejects. */
export const reject = async () => {
  throw new Error('rejected')
}
