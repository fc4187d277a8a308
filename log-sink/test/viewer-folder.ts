/** Folders of logs for the tests of the viewer, and what it shows of them. */

import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import { readQuery } from '../viewer/query.ts'
import { type Showing, showLogs } from '../viewer/show.ts'

/** A trace id for tests. */
export const traceId = '0af7651916cd43dd8448eb211c80319c'

/** The time that the lines of tests count from. */
export const startMs = Date.parse('2026-11-24T08:15:00.000Z')

/** A line as the services write it, some milliseconds after the start. */
export function lineAt(afterMs: number, fields: Record<string, unknown> = {}): string {
  const { level = 'info', time = new Date(startMs + afterMs).toISOString(), service = 'gateway', ...rest } = fields
  const line = { level, time, service, version: '0.1.0', instance: 'host-1a2b3c4d', ...rest }
  return `${JSON.stringify({ ...line, msg: rest.msg ?? `line at ${afterMs}` })}\n`
}

/** Collected files and a spool. */
export interface LogFolder {
  root: string
  collected: string
  spool: string
  /** Appends to a collected file, given as `<sink>/<partition>/<serial number>`. */
  collect(file: string, ...lines: string[]): string
  /** Compresses a collected file as the sinks do. */
  compress(path: string): void
  /** Appends to a segment of the spool, given as `<service>/<instance>` and the position of its first line. */
  keep(source: string, first: number, ...lines: string[]): string
}

/** Empty folders, removed when the test ends. */
export function logFolder(t: Test): LogFolder {
  const root = mkdtempSync(join(tmpdir(), 'viewer-'))
  t.teardown(() => rmSync(root, { recursive: true }))
  const [collected, spool] = [join(root, 'logs'), join(root, 'spool')]
  const append = (path: string, lines: string[]) => {
    mkdirSync(dirname(path), { recursive: true })
    appendFileSync(path, lines.join(''))
    return path
  }
  return {
    root,
    collected,
    spool,
    collect(file, ...lines) {
      const [sink, partition, serial] = file.split('/') as [string, string, string]
      const time = new Date(startMs + Number(serial)).toISOString().replaceAll(':', '-')
      return append(join(collected, sink, `partition-${partition}`, `lines-${time}.ndjson`), lines)
    },
    compress(path) {
      writeFileSync(`${path}.gz.tmp`, gzipSync(readFileSync(path)))
      renameSync(`${path}.gz.tmp`, `${path}.gz`)
      unlinkSync(path)
    },
    keep: (source, first, ...lines) => append(join(spool, source, `${String(first).padStart(16, '0')}.ndjson`), lines)
  }
}

/** What the viewer writes. */
export interface Shown {
  /** The lines, as one text. */
  text(): string
  /** What is not a line. */
  said: string[]
}

/** Starts the viewer; `done` says whether all files could be read. */
export function startShow(folder: LogFolder, variables: NodeJS.ProcessEnv = {}, more: Partial<Showing> = {}) {
  const blocks: string[] = []
  const said: string[] = []
  const out = new Writable({
    decodeStrings: true,
    write(block, _encoding, done) {
      blocks.push(block.toString('latin1'))
      done()
    }
  })
  const query = readQuery(variables, Date.now())
  const done = showLogs({ query, ...folder, out, say: (message) => said.push(message), ...more })
  return { said, done, text: () => Buffer.from(blocks.join(''), 'latin1').toString() }
}

/** What the viewer shows of what is there. */
export async function show(folder: LogFolder, variables: NodeJS.ProcessEnv = {}, more: Partial<Showing> = {}) {
  const shown = startShow(folder, variables, more)
  const complete = await shown.done
  return { text: shown.text(), said: shown.said, complete }
}

/** Waits for something to become true. */
export async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 500) throw new Error(`not within 10 s: ${condition}`)
    await sleep(20)
  }
}
