/** Folders of log files for the tests, and the output of the viewer for them. */

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
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import { readQuery } from '../query.ts'
import { type ShowOptions, showLogs } from '../show.ts'

/** The trace id of the tests. */
export const traceId = '0af7651916cd43dd8448eb211c80319c'

/** The time of `lineAt(0)`. */
export const startMs = Date.parse('2026-11-24T08:15:00.000Z')

/** A line in the form of the services, `afterMs` after `startMs`. */
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
  write(source: string, first: number, ...lines: string[]): string
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
    write: (source, first, ...lines) => append(join(spool, source, `${String(first).padStart(16, '0')}.ndjson`), lines)
  }
}

/** Starts the viewer; `done` resolves to the result of `showLogs`. */
export function startShow(folder: LogFolder, variables: NodeJS.ProcessEnv = {}, more: Partial<ShowOptions> = {}) {
  const blocks: string[] = []
  const messages: string[] = []
  const out = new Writable({
    write(block, _encoding, done) {
      blocks.push(block.toString('latin1'))
      done()
    }
  })
  const query = readQuery(variables, Date.now())
  const done = showLogs({ query, ...folder, out, say: (message) => messages.push(message), ...more })
  return { messages, done, text: () => Buffer.from(blocks.join(''), 'latin1').toString() }
}

/** Runs the viewer without FOLLOW. */
export async function show(folder: LogFolder, variables: NodeJS.ProcessEnv = {}, more: Partial<ShowOptions> = {}) {
  const shown = startShow(folder, variables, more)
  const complete = await shown.done
  return { text: shown.text(), messages: shown.messages, complete }
}
