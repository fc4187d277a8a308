/** Lines that come while they are looked at: each is shown once, wherever it is and wherever it moves. */

import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Showing } from '../viewer/show.ts'
import { createShown } from '../viewer/shown.ts'
import { type LogFolder, lineAt, logFolder, show, startShow, traceId, until } from './viewer-folder.ts'

/** Follows until the test ends. */
function follow(t: Test, folder: LogFolder, variables: NodeJS.ProcessEnv = {}, more: Partial<Showing> = {}) {
  const stopped = new AbortController()
  const shown = startShow(folder, { FOLLOW: '1', ...variables }, { signal: stopped.signal, pollMs: 10, ...more })
  const stop = async () => {
    stopped.abort()
    await shown.done
  }
  t.teardown(stop)
  return { ...shown, stop }
}

t.test('a line that is in the spool and collected is shown once', async (t) => {
  const folder = logFolder(t)
  const lines = Array.from({ length: 9 }, (_, i) => lineAt(i))
  folder.keep('gateway/host-1a2b3c4d', 4, ...lines.slice(3))
  folder.collect('sink/0/0', ...lines.slice(0, 6))
  t.equal((await show(folder)).text, lines.join(''))
})

t.test('lines that are the same are as many as in the place that has more of them', async (t) => {
  const folder = logFolder(t)
  const [twice, thrice] = [lineAt(1), lineAt(2)]
  folder.keep('gateway/host-1a2b3c4d', 1, twice, thrice, thrice, thrice)
  folder.collect('sink/0/0', twice, twice, thrice)
  t.equal((await show(folder)).text, twice + twice + thrice + thrice + thrice)
})

t.test('following shows what is there, and then what comes, by the filters', async (t) => {
  const folder = logFolder(t)
  const own = (ms: number) => lineAt(ms, { traceId })
  folder.collect('sink/0/0', lineAt(0), own(1))
  const { text, said } = follow(t, folder, { TRACE: traceId })
  await until(() => text() === own(1))
  folder.collect('sink/0/0', own(2), lineAt(3), own(4).slice(0, 30))
  await until(() => text() === own(1) + own(2))
  folder.keep('user-svc/host-1', 1, own(5), lineAt(6))
  await until(() => text() === own(1) + own(2) + own(5))
  folder.collect('sink/0/0', own(4).slice(30))
  await until(() => text() === own(1) + own(2) + own(5) + own(4))
  t.same(said, [])
})

t.test('following begins where nothing is yet', async (t) => {
  const folder = logFolder(t)
  const { text, said } = follow(t, folder)
  await until(() => said.length > 0)
  t.match(said, [/^no log line yet in /])
  folder.keep('gateway/host-1', 1, lineAt(1))
  await until(() => text() === lineAt(1))
  folder.collect('new-sink/7/0', lineAt(2))
  await until(() => text() === lineAt(1) + lineAt(2))
})

t.test('a file that is rotated and compressed is read to its end, and the next one from its beginning', async (t) => {
  const folder = logFolder(t)
  const long = Array.from({ length: 3000 }, (_, i) => lineAt(0, { msg: `number ${i} ${'x'.repeat(1000)}` }))
  const first = folder.collect('sink/0/0', ...long)
  const { text } = follow(t, folder)
  await until(() => text() === long.join(''))
  folder.collect('sink/0/0', lineAt(1), lineAt(2))
  folder.compress(first)
  folder.compress(folder.collect('sink/0/3', lineAt(3)))
  folder.collect('sink/0/4', lineAt(4))
  await until(() => text().includes(lineAt(4)))
  folder.collect('sink/0/4', lineAt(5))
  await until(() => text().includes(lineAt(5)))
  await sleep(200)
  t.equal(text().slice(long.join('').length), [1, 2, 3, 4, 5].map((ms) => lineAt(ms)).join(''))
})

t.test('a file that turns out to be broken is said once, and read once', async (t) => {
  const folder = logFolder(t)
  const { text, said } = follow(t, folder)
  await until(() => said.length === 1)
  const path = folder.collect(
    'sink/0/0',
    ...Array.from({ length: 9000 }, (_, i) => lineAt(i, { msg: `${Math.random()}` }))
  )
  folder.compress(path)
  // Not by the way: that would be read before it is cut.
  const half = readFileSync(`${path}.gz`).subarray(0, 100_000)
  rmSync(`${path}.gz`)
  await sleep(50)
  writeFileSync(join(dirname(path), 'lines-2.ndjson.gz'), half)
  await until(() => said.length === 2)
  await sleep(200)
  t.match(said[1], /unexpected end of file/)
  const counts = [...count(text()).values()]
  t.ok(counts.length > 1000)
  t.same(new Set(counts), new Set([1]))
})

t.test('what is shown from the spool is remembered for so many lines at least', async (t) => {
  const shown = createShown(10)
  const line = (i: number) => Buffer.from(lineAt(i))
  for (let i = 0; i < 15; i++) shown.addSpooled(line(i))
  t.same(
    [14, 5, 0, 5, 20].map((i, file) => shown.comesAgain(line(i), file)),
    [true, true, true, true, false]
  )
  t.notOk(shown.comesAgain(line(14), 0), 'in the same place it is another line')
  for (let i = 100; i < 1000; i++) shown.addSpooled(line(i))
  t.same(
    [999, 990, 101].map((i) => shown.comesAgain(line(i), 1)),
    [true, true, false]
  )
})

t.test('a line that is written and collected during the first look is shown once', async (t) => {
  const folder = logFolder(t)
  const unreadable = folder.collect('sink/0/0')
  rmSync(unreadable)
  mkdirSync(unreadable)
  const random = Array.from({ length: 5000 }, (_, i) => lineAt(i, { msg: `${Math.random()}` }))
  for (let serial = 1; serial < 12; serial++) folder.compress(folder.collect(`sink/0/${serial}`, ...random))
  folder.collect('sink/1/0', lineAt(0))
  // Called when the look at the collected files has begun.
  const say = () => {
    folder.keep('gateway/host-1', 1, lineAt(1))
    folder.collect('sink/1/0', lineAt(1))
  }
  const { text } = follow(t, folder, {}, { say })
  await until(() => text().includes(lineAt(1)))
  await sleep(200)
  t.equal(count(text()).get(lineAt(1).trimEnd()), 1)
})

t.test('a line that was shown from the spool is not shown again when it is collected', async (t) => {
  const folder = logFolder(t)
  const segment = folder.keep('gateway/host-1', 1, lineAt(1), lineAt(1), lineAt(2))
  const { text } = follow(t, folder)
  await until(() => text() === lineAt(1) + lineAt(1) + lineAt(2))
  folder.keep('gateway/host-1', 1, lineAt(3))
  await until(() => text().endsWith(lineAt(3)))
  folder.collect('sink/0/0', lineAt(1), lineAt(1))
  rmSync(segment)
  await sleep(200)
  folder.collect('sink/0/0', lineAt(2), lineAt(3), lineAt(4), lineAt(1))
  await until(() => text().includes(lineAt(4)))
  await sleep(200)
  t.equal(text(), lineAt(1) + lineAt(1) + lineAt(2) + lineAt(3) + lineAt(1) + lineAt(4), 'a line that is really new is')
})

t.test('what a sink takes back is not shown again, whoever collects it then', async (t) => {
  const folder = logFolder(t)
  folder.keep('gateway/host-1', 1, lineAt(3))
  const path = folder.collect('sink/0/0', lineAt(1), lineAt(2))
  const { text } = follow(t, folder)
  await until(() => text() === lineAt(1) + lineAt(2) + lineAt(3))
  folder.collect('sink/0/0', lineAt(3), lineAt(4), lineAt(5))
  await until(() => text().includes(lineAt(5)))
  truncateSync(path, lineAt(1).length)
  await sleep(200)
  folder.collect('sink/0/0', lineAt(2), lineAt(3))
  folder.collect('other/0/0', lineAt(4))
  folder.collect('sink/0/6', lineAt(5), lineAt(6))
  folder.collect('sink/0/8', lineAt(6))
  await until(() => text().includes(lineAt(6)))
  folder.collect('sink/0/0', lineAt(7))
  await until(() => text().includes(lineAt(7)))
  t.equal(text(), [1, 2, 3, 4, 5, 6, 6, 7].map((ms) => lineAt(ms)).join(''))
})

/**
 * Lines of two sources on their way from the spool to the sinks, one after the other, with segments that are removed,
 * and files that are rotated and compressed.
 */
function createTraffic(folder: LogFolder) {
  const written: string[] = []
  const sources = ['gateway/host-1', 'user-svc/host-2'].map((name, partition) => ({
    name,
    lines: [] as string[],
    segments: [] as { first: number; path: string }[],
    shipped: 0,
    partition,
    file: 0
  }))
  let steps = 0
  const random = (below: number) => Math.floor(Math.random() * below)
  return {
    written,
    step() {
      const source = sources[random(2)] as (typeof sources)[number]
      steps++
      const lines = Array.from({ length: random(4) }, () => lineAt(steps % 50, { count: steps, port: random(3) }))
      if (lines.length === 0) return this.move(source)
      if (source.segments.length === 0 || random(10) === 0) {
        source.segments.push({ first: source.lines.length + 1, path: '' })
      }
      const segment = source.segments.at(-1) as { first: number; path: string }
      segment.path = folder.keep(source.name, segment.first, ...lines)
      source.lines.push(...lines)
      written.push(...lines)
      if (random(3) > 0) this.move(source)
    },
    move(source = sources[random(2)] as (typeof sources)[number]) {
      const { name: _, lines, partition } = source
      const to = Math.min(lines.length, source.shipped + random(8))
      const path = folder.collect(`sink/${partition}/${source.file}`, ...lines.slice(source.shipped, to))
      source.shipped = to
      while ((source.segments[1]?.first ?? Number.POSITIVE_INFINITY) <= to + 1) {
        rmSync(source.segments.shift()?.path as string)
      }
      if (random(20) === 0) {
        folder.compress(path)
        source.file++
      }
    }
  }
}

const count = (text: string) => {
  const counts = new Map<string, number>()
  for (const line of text.split('\n')) counts.set(line, (counts.get(line) ?? 0) + 1)
  return counts
}

t.test('whenever one looks, each line that is written is there once', async (t) => {
  const folder = logFolder(t)
  const traffic = createTraffic(folder)
  for (let round = 0; round < 25; round++) {
    for (let i = 0; i < 10; i++) traffic.step()
    const before = count(traffic.written.join(''))
    const shown = startShow(folder)
    const running = { now: true }
    void shown.done.then(() => {
      running.now = false
    })
    while (running.now) {
      traffic.step()
      await sleep(1)
    }
    await shown.done
    const after = count(traffic.written.join(''))
    const seen = count(shown.text())
    for (const [line, times] of before) if (!((seen.get(line) ?? 0) >= times)) return t.fail(`missed: ${line}`)
    for (const [line, times] of seen) if (!(times <= (after.get(line) ?? 0))) return t.fail(`too often: ${line}`)
  }
})

t.test('whoever follows sees each line once', async (t) => {
  const folder = logFolder(t)
  const traffic = createTraffic(folder)
  for (let i = 0; i < 1000; i++) traffic.step()
  const { text, stop } = follow(t, folder)
  for (let i = 0; i < 2000; i++) {
    traffic.step()
    await (i % 5 === 0 && i > 500 ? sleep(1) : new Promise(setImmediate))
  }
  for (let i = 0; i < 1000; i++) traffic.move()
  await until(() => text().length >= traffic.written.join('').length)
  await sleep(200)
  await stop()
  t.same([...count(text())].sort(), [...count(traffic.written.join(''))].sort())
})
