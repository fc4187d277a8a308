/** `make logs` shows the matching lines, in order, byte for byte. */

import { mkdirSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { merge } from '../merge.ts'
import { createFormat } from '../readable.ts'
import type { Entries } from '../reader.ts'
import { lineAt, logFolder, show, startMs, traceId } from './log-folder.ts'

t.test('merges the lines of all sinks, partitions, files and spools by time', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(0), lineAt(4))
  folder.collect('sink/0/5', lineAt(8), lineAt(2))
  folder.collect('sink/10/0', lineAt(1), lineAt(7))
  folder.compress(folder.collect('other/0/0', lineAt(3), lineAt(6)))
  folder.write('user-svc/host-1', 1, lineAt(5))
  const { text, messages, complete } = await show(folder)
  t.equal(text, [0, 1, 2, 3, 4, 5, 6, 7, 8].map((ms) => lineAt(ms)).join(''))
  t.same(messages, [])
  t.ok(complete)
})

t.test('lines of one time keep their order', async (t) => {
  const folder = logFolder(t)
  const lines = Array.from({ length: 500 }, (_, i) => lineAt(i % 3, { msg: `number ${i}` }))
  folder.compress(folder.collect('sink/0/0', ...lines.slice(0, 200)))
  folder.collect('sink/0/1', ...lines.slice(200))
  t.equal((await show(folder)).text, [0, 1, 2].flatMap((ms) => lines.filter((_, i) => i % 3 === ms)).join(''))
})

t.test('a small window sorts lines that are out of order by less than half of it', async (t) => {
  const times = Array.from({ length: 1000 }, (_, i) => (i % 2 === 0 ? i : i - 10))
  async function* stream(): Entries {
    for (const ms of times) yield [{ ms, line: Buffer.alloc(10), place: 'a' }]
  }
  const merged: number[] = []
  for await (const entries of merge([stream()], 400)) merged.push(...entries.map(({ ms }) => ms))
  t.same(
    merged,
    times.toSorted((a, b) => a - b)
  )
})

t.test('compares times in any form that Date can parse', async (t) => {
  const folder = logFolder(t)
  const times = ['2026-11-24T09:14:59.999+01:00', '2026-11-24T08:15:00Z', 'Tue, 24 Nov 2026 08:15:01 GMT']
  const inOrder = times.map((time) => lineAt(0, { time }))
  folder.collect('sink/0/0', ...inOrder.toReversed())
  t.equal((await show(folder)).text, inOrder.join(''))
})

t.test('TRACE takes the lines of the trace, not lines that contain its id', async (t) => {
  const folder = logFolder(t)
  const own = [
    lineAt(1, { traceId, service: 'user-svc' }),
    lineAt(3, { traceId: traceId.toUpperCase() }),
    `{ "msg": "other order", "traceId": "${traceId}", "service": "foreign", "time": "2026-11-24T08:15:00.004Z", "level": "info" }\n`,
    lineAt(5, { traceId: traceId.replace('0', '2'), traceIds: [traceId.replace('0', '1'), traceId] })
  ]
  folder.collect(
    'sink/0/0',
    lineAt(0),
    own[0] as string,
    lineAt(2, { msg: `the trace ${traceId} is another` }),
    lineAt(2, { traceId: `${traceId}0` }),
    lineAt(2, { err: { type: 'Error', traceId } }),
    `no JSON, but "traceId":"${traceId}"\n`
  )
  folder.compress(folder.collect('sink/1/0', ...own.slice(1), lineAt(5)))
  t.equal((await show(folder, { TRACE: traceId })).text, own.join(''))
  t.equal((await show(folder, { TRACE: traceId, SERVICE: 'user-svc' })).text, own[0])
})

t.test('lines are found across the ends of blocks', async (t) => {
  const folder = logFolder(t)
  const lines = Array.from({ length: 9000 }, (_, i) =>
    lineAt(i, { traceId: i % 3 === 0 ? traceId : traceId.replace('0', 'f'), msg: 'x'.repeat(i % 97) })
  )
  const own = lines.filter((_, i) => i % 3 === 0).join('')
  lines.push(lineAt(9000, { msg: 'y'.repeat(3 * 2 ** 20) }))
  const path = folder.collect('sink/0/0', ...lines)
  t.ok((await show(folder, { TRACE: traceId })).text === own)
  t.ok((await show(folder)).text === lines.join(''))
  folder.compress(path)
  t.ok((await show(folder, { TRACE: traceId })).text === own)
})

t.test('SERVICE and LEVEL are fields of the line, in any form of it', async (t) => {
  const folder = logFolder(t)
  const foreign = '{"service":"foreign","level":"WARN","time":"2026-11-24T08:15:00.004Z","err":{"level":"info"}}\n'
  const escaped = '{"level":"err\\u006fr","time":"2026-11-24T08:15:00.005Z","service":"g\\u0061teway","msg":"x"}\n'
  const unknown = lineAt(6, { level: 'information', service: 'foreign' })
  const warn = lineAt(1, { level: 'warn', service: 'user-svc' })
  const fatal = lineAt(2, { level: 'fatal', service: 'user-svc-2' })
  const others = [
    lineAt(0, { level: 'debug', err: { level: 'fatal', service: 'user-svc' } }),
    lineAt(3, { service: 'session-svc', msg: '"level":"error","service":"gateway"' }),
    '{"level":"fatal","time":"2026-11-24T08:15:00.004Z","service":"gateway","msg":"cut o\n',
    'no JSON at all\n',
    '["level","fatal"]\n',
    '\n'
  ]
  folder.collect('sink/0/0', ...others, warn, fatal, foreign, escaped, unknown)
  t.equal((await show(folder, { LEVEL: 'warn' })).text, [warn, fatal, foreign, escaped, unknown].join(''))
  t.equal((await show(folder, { LEVEL: 'ERROR' })).text, [fatal, escaped, unknown].join(''), 'an unknown level passes')
  t.equal((await show(folder, { SERVICE: ' user-svc,foreign ' })).text, [warn, foreign, unknown].join(''))
  t.equal((await show(folder, { SERVICE: 'gateway', LEVEL: 'error' })).text, escaped)
})

t.test('a misspelt SERVICE is an error that lists the services', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(0), lineAt(1, { service: 'foreign' }))
  t.same(await show(folder, { SERVICE: 'gatway,gateway' }), {
    text: lineAt(0),
    messages: ['SERVICE: no log line of gatway; there are foreign, gateway, log-sink, session-svc, user-svc'],
    complete: false
  })
  t.ok((await show(folder, { SERVICE: 'log-sink' })).complete, 'a service that has not logged')
})

t.test('SINCE takes lines from a time on, and skips files that were last written before it', async (t) => {
  const folder = logFolder(t)
  const nowMs = Date.now()
  const recent = (agoMs: number) => lineAt(0, { time: new Date(nowMs - agoMs).toISOString(), msg: `${agoMs} ago` })
  const old = folder.collect('sink/0/0', recent(1))
  utimesSync(old, nowMs / 1000 - 10_000, nowMs / 1000 - 10_000)
  folder.collect('sink/0/1', recent(7_000_000), recent(3_700_000), recent(8000), recent(500))
  t.equal((await show(folder, { SINCE: '2m' })).text, recent(8000) + recent(500))
  t.equal((await show(folder, { SINCE: '2h' })).text, [7_000_000, 3_700_000, 8000, 500].map(recent).join(''))
  t.equal((await show(folder, { SINCE: new Date(nowMs - 8000).toISOString() })).text, recent(8000) + recent(500))
})

t.test('SINCE allows for clocks that differ by seconds', async (t) => {
  const folder = logFolder(t)
  const path = folder.collect('sink/0/0', lineAt(0))
  utimesSync(path, startMs / 1000 - 30, startMs / 1000 - 30)
  t.equal((await show(folder, { SINCE: '2026-11-24T08:15:00Z' })).text, lineAt(0))
})

t.test('a damaged line stays behind the line before it', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(1), 'no JSON \xff\n', '42\n', '\n', lineAt(3))
  folder.collect('sink/1/0', lineAt(2))
  t.equal((await show(folder)).text, `${lineAt(1)}no JSON \xff\n42\n\n${lineAt(2)}${lineAt(3)}`)
})

t.test('a line without its line end is not shown', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(1), lineAt(2).slice(0, 50))
  folder.write('gateway/host-1', 1, lineAt(3), lineAt(4).trimEnd())
  t.equal((await show(folder)).text, lineAt(1) + lineAt(3))
})

t.test('reads a file once that exists under both names, and no other files', async (t) => {
  const folder = logFolder(t)
  const path = folder.collect('sink/0/0', lineAt(1))
  folder.compress(path)
  writeFileSync(path, lineAt(1))
  for (const name of ['checkpoint.json', 'dead-letters-1.ndjson', 'lines-2026.ndjson.gz.tmp', 'owner.json']) {
    for (const up of ['..', '../..', '../../..']) writeFileSync(join(path, up, name), lineAt(2))
  }
  const { text, messages } = await show(folder)
  t.equal(text, lineAt(1))
  t.same(messages, [])
})

t.test('reports files that cannot be read, and shows all other lines', async (t) => {
  const folder = logFolder(t)
  const random = Array.from({ length: 9000 }, (_, i) => lineAt(i, { msg: `${Math.random()}` }))
  const cut = folder.collect('sink/0/0', ...random)
  const wrong = folder.collect('sink/0/1', lineAt(1))
  folder.compress(cut)
  folder.compress(wrong)
  truncateSync(`${cut}.gz`, Math.floor(statSync(`${cut}.gz`).size / 2))
  writeFileSync(`${wrong}.gz`, 'no gzip')
  const directory = join(folder.collected, 'sink', 'partition-0', 'lines-3.ndjson')
  mkdirSync(directory)
  folder.collect('sink/1/0', lineAt(10_000))
  const { text, messages, complete } = await show(folder)
  t.ok(text.endsWith(lineAt(10_000)))
  t.ok(text.split('\n').length > 1000, 'the readable part of the cut file')
  t.notOk(complete)
  t.same(messages.sort(), [
    `${cut}.gz: cannot be read (unexpected end of file)`,
    `${wrong}.gz: cannot be read (incorrect header check)`,
    `${directory}: cannot be read (EISDIR)`
  ])
})

t.test('without a matching line, names the folders that it read', async (t) => {
  const folder = logFolder(t)
  const messages = [`no matching log line in ${folder.collected} and ${folder.spool}`]
  t.same(await show(folder), { text: '', messages, complete: true })
})

t.test('applies a format', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(1))
  const format = createFormat(false)
  t.match((await show(folder, {}, { format })).text, /^2026-11-24 .*\n.*INFO {3}gateway {6}line at 1\n$/)
})
