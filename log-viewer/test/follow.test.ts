/** Lines that are written or moved while they are read: each is shown once. */

import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { until } from '#common/testing/until.ts'
import { createCopyFilter } from '../copies.ts'
import { type LogFolder, lineAt, logFolder, show, startShow, traceId } from './log-folder.ts'
import { createTraffic } from './traffic.ts'

/** Follows until the test ends. */
function follow(t: Test, folder: LogFolder, variables: NodeJS.ProcessEnv = {}) {
  const stop = new AbortController()
  const shown = startShow(folder, { FOLLOW: '1', ...variables }, { signal: stop.signal, pollMs: 10 })
  t.teardown(async () => {
    stop.abort()
    await shown.done
  })
  let markers = 0
  /** Waits for a collected marker line in a new file: the listing with that file has all earlier files. */
  async function textBefore(marker: string): Promise<string> {
    folder.collect(`marker/0/${markers}`, marker)
    markers += 1
    await until(`the output contains ${marker}`, () => shown.text().includes(marker))
    return shown.text().replace(marker, '')
  }
  return { ...shown, textBefore, shows: (text: string) => until('the output is complete', () => shown.text() === text) }
}

const marker = lineAt(999_999)

t.test('a line in the spool and in a collected file is shown once', async (t) => {
  const folder = logFolder(t)
  const lines = Array.from({ length: 9 }, (_, i) => lineAt(i))
  folder.write('gateway/host-1a2b3c4d', 4, ...lines.slice(3))
  folder.collect('sink/0/0', ...lines.slice(0, 6))
  t.equal((await show(folder)).text, lines.join(''))
})

t.test('equal lines are shown as often as in the file with most of them', async (t) => {
  const folder = logFolder(t)
  const [twice, thrice] = [lineAt(1), lineAt(2)]
  folder.write('gateway/host-1a2b3c4d', 1, twice, thrice, thrice, thrice)
  folder.collect('sink/0/0', twice, twice, thrice)
  t.equal((await show(folder)).text, twice + twice + thrice + thrice + thrice)
})

t.test('FOLLOW filters new lines, once they are complete', async (t) => {
  const folder = logFolder(t)
  const own = (ms: number) => lineAt(ms, { traceId })
  folder.collect('sink/0/0', lineAt(0), own(1))
  const { shows, messages } = follow(t, folder, { TRACE: traceId })
  await shows(own(1))
  folder.collect('sink/0/0', own(2), lineAt(3), own(4).slice(0, 30))
  await shows(own(1) + own(2))
  folder.write('user-svc/host-1', 1, own(5), lineAt(6))
  await shows(own(1) + own(2) + own(5))
  folder.collect('sink/0/0', own(4).slice(30))
  await shows(own(1) + own(2) + own(5) + own(4))
  t.same(messages, [])
})

t.test('FOLLOW starts without any files', async (t) => {
  const folder = logFolder(t)
  const { shows, messages } = follow(t, folder)
  await until('a message', () => messages.length > 0)
  t.match(messages, [/^no matching log line yet in /])
  folder.write('gateway/host-1', 1, lineAt(1))
  await shows(lineAt(1))
  folder.collect('new-sink/7/0', lineAt(2))
  await shows(lineAt(1) + lineAt(2))
})

t.test('FOLLOW reads a file to its end that is rotated and compressed', async (t) => {
  const folder = logFolder(t)
  const long = Array.from({ length: 3000 }, (_, i) => lineAt(0, { msg: `number ${i} ${'x'.repeat(1000)}` }))
  const first = folder.collect('sink/0/0', ...long)
  const { shows, textBefore } = follow(t, folder)
  await shows(long.join(''))
  folder.collect('sink/0/0', lineAt(1), lineAt(2))
  folder.compress(first)
  folder.compress(folder.collect('sink/0/3', lineAt(3)))
  folder.collect('sink/0/4', lineAt(4))
  t.equal(await textBefore(marker), [...long, lineAt(1), lineAt(2), lineAt(3), lineAt(4)].join(''))
})

t.test('FOLLOW reports and reads a damaged file once', async (t) => {
  const folder = logFolder(t)
  const { text, messages, textBefore } = follow(t, folder)
  await until('a message', () => messages.length === 1)
  const random = Array.from({ length: 9000 }, (_, i) => lineAt(i, { msg: `${Math.random()}` }))
  const path = logFolder(t).collect('sink/0/0', ...random)
  folder.compress(path)
  const half = readFileSync(`${path}.gz`).subarray(0, 100_000)
  writeFileSync(join(dirname(folder.collect('sink/0/1')), 'lines-2.ndjson.gz'), half)
  await until('a second message', () => messages.length === 2)
  await textBefore(marker)
  t.match(messages[1], /unexpected end of file/)
  const lines = text().split('\n')
  t.ok(lines.length > 1000)
  t.equal(new Set(lines).size, lines.length)
})

t.test('FOLLOW shows a line of the spool once when it is collected', async (t) => {
  const folder = logFolder(t)
  const segment = folder.write('gateway/host-1', 1, lineAt(1), lineAt(1), lineAt(2))
  const { shows, textBefore } = follow(t, folder)
  await shows(lineAt(1) + lineAt(1) + lineAt(2))
  rmSync(segment)
  folder.collect('sink/0/0', lineAt(1), lineAt(1), lineAt(2), lineAt(3), lineAt(1))
  t.equal(await textBefore(marker), [1, 1, 2, 1, 3].map((ms) => lineAt(ms)).join(''))
})

t.test('FOLLOW shows lines once that a sink cuts back and that are collected again', async (t) => {
  const folder = logFolder(t)
  const path = folder.collect('sink/0/0', lineAt(1), lineAt(2), lineAt(3), lineAt(4), lineAt(5))
  const { shows, textBefore } = follow(t, folder)
  await shows([1, 2, 3, 4, 5].map((ms) => lineAt(ms)).join(''))
  truncateSync(path, lineAt(1).length)
  await textBefore(marker)
  folder.collect('sink/0/0', lineAt(2), lineAt(3))
  folder.collect('other/0/0', lineAt(4))
  folder.collect('sink/0/6', lineAt(5), lineAt(6))
  const text = await textBefore(lineAt(999_998))
  t.equal(text.replace(marker, ''), [1, 2, 3, 4, 5, 6].map((ms) => lineAt(ms)).join(''))
})

t.test('the copy filter remembers a number of recent lines', async (t) => {
  const isNew = createCopyFilter(10)
  const entry = (i: number, place: string) => ({ ms: 0, line: Buffer.from(lineAt(i)), place })
  for (let i = 0; i < 50; i++) t.ok(isNew(entry(i, 'spool')))
  for (let i = 40; i < 50; i++) t.notOk(isNew(entry(i, 'sink')), 'a copy')
  t.ok(isNew(entry(0, 'sink')), 'a forgotten line')
})

t.test('each line of running services is shown once, whenever the viewer is started', async (t) => {
  const folder = logFolder(t)
  const traffic = createTraffic(folder)
  for (let round = 0; round < 25; round++) {
    for (let i = 0; i < 10; i++) traffic.step()
    const before = [...traffic.written]
    const shown = startShow(folder)
    let running = true
    void shown.done.then(() => {
      running = false
    })
    while (running) {
      traffic.step()
      await sleep(1)
    }
    const lines: string[] = shown.text().match(/.+\n/g) ?? []
    t.equal(new Set(lines).size, lines.length, 'no line twice')
    t.same(
      before.filter((line) => !lines.includes(line)),
      [],
      'no line missing'
    )
  }
})

t.test('FOLLOW shows each line of running services once', async (t) => {
  const folder = logFolder(t)
  const traffic = createTraffic(folder)
  for (let i = 0; i < 500; i++) traffic.step()
  const { textBefore } = follow(t, folder)
  for (let i = 0; i < 1000; i++) {
    traffic.step()
    await (i % 5 === 0 ? sleep(1) : new Promise(setImmediate))
  }
  const lines = (await textBefore(marker)).match(/.+\n/g) ?? []
  t.same(lines.sort(), traffic.written.sort())
})
