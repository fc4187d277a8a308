/** What is shown of the collected lines: those that are asked for, in order, byte for byte. */

import { mkdirSync, readdirSync, readlinkSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import t from 'tap'
import { createFormat } from '../viewer/readable.ts'
import { lineAt, logFolder, show, startMs, traceId } from './viewer-folder.ts'

t.test('lines of all sinks, partitions and files are merged by time', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(0), lineAt(4))
  folder.collect('sink/0/5', lineAt(8), lineAt(2))
  folder.collect('sink/10/0', lineAt(1), lineAt(7))
  folder.compress(folder.collect('other/0/0', lineAt(3), lineAt(6)))
  folder.keep('user-svc/host-1', 1, lineAt(5))
  const { text, said, complete } = await show(folder)
  t.equal(text, [0, 1, 2, 3, 4, 5, 6, 7, 8].map((ms) => lineAt(ms)).join(''))
  t.same(said, [])
  t.ok(complete)
})

t.test('lines of one time stay in the order in which they were written', async (t) => {
  const folder = logFolder(t)
  const lines = Array.from({ length: 500 }, (_, i) => lineAt(i % 3, { msg: `number ${i}` }))
  folder.compress(folder.collect('sink/0/0', ...lines.slice(0, 200)))
  folder.collect('sink/0/1', ...lines.slice(200))
  const inOrder = [0, 1, 2].flatMap((ms) => lines.filter((_, i) => i % 3 === ms))
  for (const memoryBytes of [2 ** 20, 2000]) t.equal((await show(folder, {}, { memoryBytes })).text, inOrder.join(''))
})

t.test('times are compared as instants, however they are written', async (t) => {
  const folder = logFolder(t)
  const inOrder = [
    '2026-11-24T09:14:59.9999+01:00',
    '2026-11-24T08:15:00Z',
    '2026-11-24T03:15:00.0000001-0500',
    '2026-11-24t08:15:00.000000200z',
    '2026-11-24 08:15:00,001',
    'Tue, 24 Nov 2026 08:15:01 GMT'
  ].map((time, i) => lineAt(0, { time, msg: `number ${i}` }))
  folder.collect('sink/0/0', ...inOrder.toReversed())
  for (const memoryBytes of [2 ** 20, 300]) t.equal((await show(folder, {}, { memoryBytes })).text, inOrder.join(''))
})

t.test('a result that does not fit into memory is sorted as well', async (t) => {
  const folder = logFolder(t)
  const order = Array.from({ length: 20_000 }, (_, i) => (i * 7919) % 20_000)
  const lines = order.map((ms) => lineAt(ms, { msg: 'x'.repeat(ms % 200) }))
  lines.splice(9000, 0, lineAt(20_000, { msg: 'y'.repeat(3 * 2 ** 20) }))
  for (let i = 0; i < 4; i++) folder.collect(`sink/${i}/0`, ...lines.slice(i * 5100, (i + 1) * 5100))
  const memoryBytes = 100_000
  const { text } = await show(folder, {}, { memoryBytes })
  t.ok(text === [...lines].sort((a, b) => (a.slice(24, 50) < b.slice(24, 50) ? -1 : 1)).join(''))
  folder.keep('gateway/host-1', 1, ...lines.slice(15_000))
  t.ok((await show(folder, {}, { memoryBytes })).text === text, 'lines that are in the spool, too, are shown once')
})

t.test('its temporary files are gone before they are used', { skip: process.platform !== 'linux' }, async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', ...Array.from({ length: 3000 }, (_, i) => lineAt(i, { msg: 'x'.repeat(1000) })))
  const { TMPDIR } = process.env
  process.env.TMPDIR = folder.root
  t.teardown(() => {
    process.env.TMPDIR = TMPDIR ?? ''
  })
  let open: string[] = []
  const out = new Writable({
    write(_block, _encoding, done) {
      if (open.length === 0)
        open = readdirSync('/proc/self/fd')
          .map(target)
          .filter((path) => path.startsWith(folder.root))
      done()
    }
  })
  await show(folder, {}, { memoryBytes: 500_000, out })
  t.ok(open.length > 3)
  t.same(
    open.filter((path) => !/lines-.*\(deleted\)$/.test(path)),
    []
  )
})

/** What a descriptor of this process is open on. */
function target(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}

t.test('a trace is the trace of a line, not a word in it', async (t) => {
  const folder = logFolder(t)
  const own = [
    lineAt(1, { traceId, service: 'user-svc' }),
    lineAt(3, { traceId: traceId.toUpperCase() }),
    `{ "msg": "other order", "traceId": "${traceId}", "service": "foreign", "time": "2026-11-24T08:15:00.004Z", "level": "info" }\n`
  ]
  folder.collect(
    'sink/0/0',
    lineAt(0),
    own[0] as string,
    lineAt(2, { msg: `the trace ${traceId} is not mine` }),
    lineAt(2, { traceId: `${traceId}0` }),
    lineAt(2, { err: { type: 'Error', traceId } }),
    `no JSON, but "traceId":"${traceId}"\n`
  )
  folder.compress(folder.collect('sink/1/0', own[1] as string, own[2] as string, lineAt(5)))
  const parent = `00-${traceId.toUpperCase()}-b7ad6b7169203331-01`
  for (const TRACE of [traceId, traceId.toUpperCase(), parent])
    t.equal((await show(folder, { TRACE })).text, own.join(''))
  t.equal((await show(folder, { TRACE: traceId, SERVICE: 'user-svc' })).text, own[0])
})

t.test('a call that was made for several requests belongs to the trace of each', async (t) => {
  const folder = logFolder(t)
  const [other, another] = [traceId.replace('0', '1'), traceId.replace('0', '2')]
  const call = lineAt(1, { traceId: another, traceIds: [other, traceId], event: 'rpc_served' })
  folder.collect('sink/0/0', lineAt(0, { traceIds: [other] }), call, lineAt(2, { traceIds: traceId }))
  t.equal((await show(folder, { TRACE: traceId })).text, call)
})

t.test('a trace is found wherever blocks of bytes end', async (t) => {
  const folder = logFolder(t)
  const own: string[] = []
  const lines = Array.from({ length: 9000 }, (_, i) => {
    const line = lineAt(i, { traceId: i % 3 === 0 ? traceId : traceId.replace('0', 'f'), msg: 'x'.repeat(i % 97) })
    if (i % 3 === 0) own.push(line)
    return line
  })
  const path = folder.collect('sink/0/0', ...lines)
  t.ok((await show(folder, { TRACE: traceId })).text === own.join(''))
  folder.compress(path)
  t.ok((await show(folder, { TRACE: traceId })).text === own.join(''))
})

t.test('services and levels are those of the line, in any form of it', async (t) => {
  const folder = logFolder(t)
  const foreign =
    '{"service":"foreign","level":"WARN","time":"2026-11-24T08:15:00.004Z","msg":"x","err":{"level":"info"}}\n'
  const escaped = '{"level":"err\\u006fr","time":"2026-11-24T08:15:00.005Z","service":"g\\u0061teway","msg":"x"}\n'
  const unknown = lineAt(6, { level: 'information', service: 'foreign' })
  folder.collect(
    'sink/0/0',
    lineAt(0, { level: 'debug', err: { level: 'fatal', service: 'user-svc' } }),
    lineAt(1, { level: 'warn', service: 'user-svc' }),
    lineAt(2, { level: 'fatal', service: 'user-svc-2' }),
    lineAt(3, { service: 'session-svc', msg: '"level":"error","service":"gateway"' }),
    foreign,
    escaped,
    unknown,
    '{"level":"fatal","time":"2026-11-24T08:15:00.004Z","service":"gateway","msg":"cut o\n',
    'no JSON at all\n',
    '["level","fatal"]\n',
    '\n'
  )
  const warn = lineAt(1, { level: 'warn', service: 'user-svc' })
  const fatal = lineAt(2, { level: 'fatal', service: 'user-svc-2' })
  t.equal((await show(folder, { LEVEL: 'warn' })).text, [warn, fatal, foreign, escaped, unknown].join(''))
  t.equal((await show(folder, { LEVEL: 'ERROR' })).text, [fatal, escaped, unknown].join(''))
  t.equal((await show(folder, { SERVICE: ' user-svc,foreign ' })).text, [warn, foreign, unknown].join(''))
  t.equal((await show(folder, { SERVICE: 'gateway', LEVEL: 'error' })).text, escaped)
  t.equal((await show(folder, { SERVICE: 'nobody' })).text, '')
})

t.test('lines since a time, or for a time span, are shown', async (t) => {
  const folder = logFolder(t)
  const nowMs = Date.now()
  const recent = (agoMs: number) => lineAt(0, { time: new Date(nowMs - agoMs).toISOString(), msg: `${agoMs} ago` })
  const old = folder.collect('sink/0/0', recent(800_000_000), recent(1))
  utimesSync(old, nowMs / 1000 - 10_000, nowMs / 1000 - 10_000)
  folder.collect('sink/0/1', recent(7_000_000), ` ${recent(800_000_000)}`, recent(8000), recent(3_700_000), recent(500))
  t.equal((await show(folder, { SINCE: '2m' })).text, recent(8000) + recent(500), 'the old file is not looked at')
  t.equal((await show(folder, { SINCE: '2h' })).text, [7_000_000, 3_700_000, 8000, 500].map(recent).join(''))
  t.equal((await show(folder, { SINCE: '7d' })).text.split('\n').length, 6)
  t.equal((await show(folder, { SINCE: new Date(nowMs - 8000).toISOString() })).text, recent(8000) + recent(500))
})

t.test('a file that is written until shortly before the time is looked at: clocks differ', async (t) => {
  const folder = logFolder(t)
  const path = folder.collect('sink/0/0', lineAt(0))
  utimesSync(path, startMs / 1000 - 30, startMs / 1000 - 30)
  t.equal((await show(folder, { SINCE: '2026-11-24T08:15:00Z' })).text, lineAt(0))
})

t.test('what is no line of ours stays where it is, unless there is a filter', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(1), 'no JSON \xff\n', '42\n', '\n', lineAt(3))
  folder.collect('sink/1/0', lineAt(2))
  t.equal((await show(folder)).text, `${lineAt(1)}no JSON \xff\n42\n\n${lineAt(2)}${lineAt(3)}`)
  t.equal((await show(folder, { LEVEL: 'trace' })).text, lineAt(1) + lineAt(2) + lineAt(3))
})

t.test('a line that is not finished yet is not shown', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(1), lineAt(2).slice(0, 50))
  folder.keep('gateway/host-1', 1, lineAt(3), lineAt(4, { traceId }).trimEnd())
  t.equal((await show(folder)).text, lineAt(1) + lineAt(3))
  t.equal((await show(folder, { TRACE: traceId })).text, '')
})

t.test('a file that is there under both its names is read once, and other files are none of ours', async (t) => {
  const folder = logFolder(t)
  const path = folder.collect('sink/0/0', lineAt(1))
  folder.compress(path)
  writeFileSync(path, lineAt(1))
  for (const name of ['checkpoint.json', 'dead-letters-1.ndjson', 'lines-2026.ndjson.gz.tmp', 'owner.json']) {
    writeFileSync(join(path, '..', name), lineAt(2))
    writeFileSync(join(path, '..', '..', name), lineAt(2))
    writeFileSync(join(folder.collected, name), lineAt(2))
  }
  mkdirSync(join(folder.collected, 'sink', 'other'))
  writeFileSync(join(folder.collected, 'sink', 'other', 'lines-2026.ndjson'), lineAt(2))
  const { text, said } = await show(folder)
  t.equal(text, lineAt(1))
  t.same(said, [])
})

t.test('what cannot be read is said, and the rest is shown', async (t) => {
  const folder = logFolder(t)
  const cut = folder.collect(
    'sink/0/0',
    ...Array.from({ length: 9000 }, (_, i) => lineAt(i, { msg: `${Math.random()}` }))
  )
  const wrong = folder.collect('sink/0/1', lineAt(1))
  folder.compress(cut)
  folder.compress(wrong)
  truncateSync(`${cut}.gz`, Math.floor(statSync(`${cut}.gz`).size / 2))
  writeFileSync(`${wrong}.gz`, 'no gzip')
  const directory = join(folder.collected, 'sink', 'partition-0', 'lines-3.ndjson')
  mkdirSync(directory)
  folder.collect('sink/1/0', lineAt(10_000))
  const { text, said, complete } = await show(folder)
  t.ok(text.endsWith(lineAt(10_000)))
  t.ok(text.split('\n').length > 1000, 'what could be read of a file that is cut')
  t.notOk(complete)
  t.same(said.sort(), [
    `${cut}.gz: cannot be read (unexpected end of file)`,
    `${wrong}.gz: cannot be read (incorrect header check)`,
    `${directory}: cannot be read (EISDIR)`
  ])
})

t.test('where nothing is, it says where it looked', async (t) => {
  const folder = logFolder(t)
  t.same(await show(folder), {
    text: '',
    said: [`no log line in ${folder.collected} and ${folder.spool}`],
    complete: true
  })
  folder.collect('sink/0/0', lineAt(1))
  t.match((await show(folder, { TRACE: traceId })).said, [/^no matching log line in /])
})

t.test('the format is used where there is one', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(1))
  t.match(
    (await show(folder, {}, { format: createFormat(false) })).text,
    /^2026-11-24 .*\n.*INFO {3}gateway {6}line at 1\n$/
  )
})
