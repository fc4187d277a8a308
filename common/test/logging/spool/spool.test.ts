/** The disk buffer: what is written is read back in order, the limit holds, and what is lost is counted and leaves a gap. */

import { appendFileSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { listSegments, readShipped } from '#common/logging/spool/layout.ts'
import { RecordTooLargeError } from '#common/logging/spool/piece-size.ts'
import { type ShipperOptions, ship } from '#common/logging/spool/shipper.ts'
import { openSource } from '#common/logging/spool/source.ts'
import { openSpool } from '#common/logging/spool/spool.ts'
import { takeOwnership } from '#common/process/directory-lease.ts'
import { until } from '#common/testing/until.ts'

const instance = 'host-1'

/** A spool of a process, and what it told. */
function newSpool(t: Test, segmentBytes = 1000) {
  const directory = t.testdir({})
  const dropped: [number, string][] = []
  const disk: (string | undefined)[] = []
  const open = (name = instance) =>
    openSpool(join(directory, name), segmentBytes, {
      dropped: (count, reason) => void dropped.push([count, reason]),
      disk: (error) => void disk.push((error as NodeJS.ErrnoException | undefined)?.code)
    })
  return { directory, own: join(directory, instance), dropped, disk, spool: open(), open }
}

interface Sent {
  source: string
  position: number
  lines: string[]
  partition: number
}

/** Ships to an array until `ended`. */
function startShipping(directory: string, options: Partial<ShipperOptions> = {}, failing = false) {
  const sent: Sent[] = []
  const dropped: [number, string][] = []
  const state = { shipped: 0, bytes: 0, failing }
  const [stop, cutOff] = [new AbortController(), new AbortController()]
  const ended = ship(
    {
      service: 'svc',
      instance,
      directory,
      maxBytes: 2 ** 20,
      async send(source, { position, bytes }, partition) {
        if (state.failing) throw new Error('no broker')
        sent.push({ source, position, lines: bytes.toString().split('\n').slice(0, -1), partition })
        return 3
      },
      ...options
    },
    {
      shipped: (count) => {
        state.shipped += count
      },
      dropped: (count, reason) => void dropped.push([count, reason]),
      bytes: (bytes) => {
        state.bytes = bytes
      },
      brokers: () => {},
      disk: () => {}
    },
    stop.signal,
    cutOff.signal
  )
  const lines = () => sent.flatMap((each) => each.lines)
  return {
    sent,
    dropped,
    state,
    lines,
    until: (holds: () => boolean) => until(`the shipper has sent ${JSON.stringify(sent).slice(0, 500)}`, holds),
    async end() {
      stop.abort()
      return ended
    },
    cutOff: () => {
      stop.abort()
      cutOff.abort()
      return ended
    }
  }
}

const numbered = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => `line ${from + index}`)

t.test('lines of one turn are one write, and all are shipped in order with their positions', async (t) => {
  const { spool, directory, own } = newSpool(t)
  for (const line of numbered(1, 500)) spool.write(`${line}\n`)
  t.notOk(existsSync(own), 'nothing is written before the turn ends')
  await new Promise((done) => setImmediate(done))
  t.ok(listSegments(own).length > 0)
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.state.shipped === 500)
  for (const line of numbered(501, 700)) spool.write(`${line}\n`)
  await shipping.until(() => shipping.state.shipped === 700)
  t.same(shipping.lines(), numbered(1, 700))
  let position = 1
  for (const batch of shipping.sent) {
    t.equal(batch.position, position)
    t.equal(batch.source, 'svc/host-1')
    position += batch.lines.length
  }
  t.same([shipping.sent[0]?.partition, shipping.sent.at(-1)?.partition], [-1, 3], 'the partition is kept')
  spool.close()
  t.equal(await shipping.end(), true, 'all is shipped')
  t.notOk(existsSync(own), 'nothing is left of it')
})

t.test('segments that are shipped are removed, and shipping goes on after a crash where it was', async (t) => {
  const { spool, directory, own } = newSpool(t)
  for (let line = 1; line <= 100; line += 1) {
    spool.write(`line ${line}\n`)
    spool.flush()
  }
  const first = startShipping(directory)
  await first.until(() => first.state.shipped === 100)
  t.equal(listSegments(own).length, 1)
  await first.cutOff()
  spool.write('line 101\n')
  spool.flush()
  const second = startShipping(directory)
  await second.until(() => second.state.shipped > 0)
  t.match(second.sent, [{ position: 101, lines: ['line 101'], partition: 3 }])
  await second.end()
})

t.test('a note that was lost has lines shipped twice, never lost', async (t) => {
  const { spool, directory, own } = newSpool(t, 100_000)
  for (const line of numbered(1, 10)) spool.write(`${line}\n`)
  spool.flush()
  const first = startShipping(directory)
  await first.until(() => first.state.shipped === 10)
  await first.cutOff()
  writeFileSync(join(own, 'shipped'), 'rubbish')
  t.same(readShipped(own).position, 0)
  const second = startShipping(directory)
  await second.until(() => second.state.shipped === 10)
  t.equal(second.sent[0]?.position, 1)
  await second.end()
})

t.test('what dead processes left is shipped under their names, and removed', async (t) => {
  const { directory, spool, open } = newSpool(t)
  const dead = open('host-dead')
  for (const line of numbered(1, 50)) dead.write(`${line}\n`)
  dead.close()
  owned(join(directory, 'host-dead'), false)
  const living = open('host-living')
  living.write('not to be touched\n')
  living.close()
  owned(join(directory, 'host-living'), true)
  spool.write('own\n')
  spool.flush()
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.state.shipped === 51)
  t.same(
    shipping.sent.filter(({ source }) => source === 'svc/host-dead').flatMap(({ lines }) => lines),
    numbered(1, 50)
  )
  await shipping.until(() => !existsSync(join(directory, 'host-dead')))
  t.ok(existsSync(join(directory, 'host-living')))
  await shipping.end()
})

t.test('half a line at the end of a dead process is dropped and counted', async (t) => {
  const { directory, open } = newSpool(t)
  const dead = open('host-dead')
  dead.write('whole\n')
  dead.close()
  appendFileSync(listSegments(join(directory, 'host-dead'))[0]?.path ?? '', 'hal')
  owned(join(directory, 'host-dead'), false)
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.dropped.length > 0)
  t.same(shipping.lines(), ['whole'])
  t.same(shipping.dropped, [[1, 'torn']])
  await shipping.end()
})

t.test('beyond its limit the oldest lines go first, counted, and the gap shows in the positions', async (t) => {
  const { directory, own, spool } = newSpool(t, 1000)
  for (let line = 1; line <= 1000; line += 1) {
    spool.write(`line ${String(line).padStart(4, '0')}\n`)
    spool.flush()
  }
  const away = startShipping(directory, { send: undefined, maxBytes: 5000 })
  await away.until(() => away.state.bytes > 0)
  t.ok(away.state.bytes <= 5000, `${away.state.bytes} bytes`)
  const dropped = away.dropped.reduce((sum, [count]) => sum + count, 0)
  t.ok(away.dropped.every(([, reason]) => reason === 'spool_full'))
  t.equal(await away.end(), false, 'without brokers nothing is shipped')
  t.equal(listSegments(own)[0]?.first, dropped + 1, 'what is left begins behind what was dropped')
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.state.shipped === 1000 - dropped)
  t.equal(shipping.sent[0]?.position, dropped + 1)
  t.equal(shipping.lines().at(-1), 'line 1000')
  await shipping.end()
})

t.test('lines that are in flight are not dropped by the limit, and come before those that follow', async (t) => {
  const { directory, spool } = newSpool(t, 1000)
  for (let line = 1; line <= 50; line += 1) {
    spool.write(`line ${String(line).padStart(4, '0')}\n`)
    spool.flush()
  }
  const shipping = startShipping(directory, { maxBytes: 3000 }, true)
  await sleep(300)
  for (let line = 51; line <= 1000; line += 1) {
    spool.write(`line ${String(line).padStart(4, '0')}\n`)
    spool.flush()
  }
  await shipping.until(() => shipping.dropped.length > 0)
  shipping.state.failing = false
  const dropped = () => shipping.dropped.reduce((sum, [count]) => sum + count, 0)
  await shipping.until(() => shipping.lines().at(-1) === 'line 1000')
  t.equal(shipping.state.shipped + dropped(), 1000, 'each line is shipped or counted')
  t.equal(shipping.lines()[0], 'line 0001')
  t.same(shipping.lines(), [...shipping.lines()].sort())
  await shipping.end()
})

t.test('without brokers the end is not waited for, and what is left is all still there', async (t) => {
  const { directory, own, spool } = newSpool(t, 100_000)
  for (const line of numbered(1, 10)) spool.write(`${line}\n`)
  spool.close()
  const shipping = startShipping(directory, {}, true)
  await sleep(250)
  const startedAt = performance.now()
  t.equal(await shipping.end(), false)
  t.ok(performance.now() - startedAt < 2000)
  t.ok(existsSync(own))
  const next = startShipping(directory)
  await next.until(() => next.state.shipped === 10)
  await next.end()
})

t.test('a line that is too long is dropped and leaves a gap', async (t) => {
  const { directory, dropped, spool } = newSpool(t)
  spool.write('before\n')
  spool.write(`${'x'.repeat(70_000)}\n`)
  spool.write('after\n')
  spool.flush()
  t.same(dropped, [[1, 'too_long']])
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.state.shipped === 2)
  t.same(
    shipping.sent.map(({ position, lines }) => [position, lines]),
    [
      [1, ['before']],
      [3, ['after']]
    ]
  )
  await shipping.end()
})

t.test('a disk that fails drops lines and says so once; when it works again, so does the log', async (t) => {
  const { directory, own, dropped, disk, spool } = newSpool(t)
  writeFileSync(join(directory, 'host-1'), 'a file where the folder should be')
  for (const line of ['lost 1\n', 'lost 2\n']) {
    spool.write(line)
    spool.flush()
  }
  t.same(dropped, [
    [1, 'disk'],
    [1, 'disk']
  ])
  t.equal(disk.length, 1)
  rmSync(own)
  spool.write('kept\n')
  spool.flush()
  t.same([disk.length, disk[1]], [2, undefined])
  t.equal(listSegments(own)[0]?.first, 3, 'the gap shows')
})

t.test('what a failing disk left of a segment does not stop the next ones', async (t) => {
  const { directory, own, spool } = newSpool(t, 100)
  for (const line of numbered(1, 40)) {
    spool.write(`${line}\n`)
    spool.flush()
  }
  spool.close()
  const [first, second] = listSegments(own)
  truncateSync(first?.path ?? '', 15)
  truncateSync(second?.path ?? '', 0)
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.lines().at(-1) === 'line 40')
  t.equal(shipping.lines()[0], 'line 1')
  t.ok(shipping.dropped.some(([, reason]) => reason === 'torn'))
  await shipping.end()
})

t.test('no reader is confused by a source that is not there any more', async (t) => {
  const directory = join(t.testdir({}), 'gone')
  const source = openSource('svc/gone', directory, () => {})
  t.equal(source.next(Buffer.alloc(1000)), undefined)
  t.equal(source.bytes(), 0)
  t.equal(source.dropOldest(), false)
})

/** Makes a directory look as if a process had it that has ended, or that lives. */
function owned(directory: string, lives: boolean): void {
  takeOwnership(directory, 1000)
  const file = join(directory, 'owner.json')
  const owner = JSON.parse(readFileSync(file, 'utf8'))
  // No process has this id.
  if (!lives) writeFileSync(file, JSON.stringify({ ...owner, pid: 4_194_303 }))
}

t.test(
  'where the buffer retains, the oldest lines of all processes are removed, and none counts as dropped',
  async (t) => {
    const { directory, own, spool } = newSpool(t, 1000)
    const dead = openSpool(join(directory, 'host-dead'), 1000, { dropped: () => {}, disk: () => {} })
    for (const each of [dead, spool]) {
      for (let line = 1; line <= 300; line += 1) {
        each.write(`line ${String(line).padStart(4, '0')}\n`)
        each.flush()
      }
    }
    dead.close()
    owned(join(directory, 'host-dead'), false)
    const kept = startShipping(directory, { send: undefined, retains: true, maxBytes: 2000 })
    await kept.until(() => !existsSync(join(directory, 'host-dead')))
    await kept.until(() => kept.state.bytes > 0 && kept.state.bytes <= 2000)
    t.same(kept.dropped, [])
    t.equal(await kept.end(), false)
    const left = listSegments(own)
    t.ok(left.length > 0 && (left[0]?.first ?? 0) > 1, 'the newest lines of the process that runs are left')
  }
)

t.test('a segment ends at its age', async (t) => {
  const directory = t.testdir()
  const spool = openSpool(directory, 2 ** 20, { dropped: () => {}, disk: () => {} }, 0)
  for (const line of ['a\n', 'b\n']) {
    spool.write(line)
    spool.flush()
  }
  spool.close()
  t.equal(listSegments(directory).length, 2)
})

t.test(
  'connections that close while a batch is sent make its pieces smaller, to a bound, and drop no line',
  async (t) => {
    const { directory, spool } = newSpool(t, 2 ** 20)
    const line = `${'x'.repeat(1023)}\n`
    for (let count = 0; count < 500; count += 1) spool.write(line)
    spool.flush()
    const sizes: number[] = []
    const received: number[] = []
    const { dropped, until, end } = startShipping(directory, {
      async send(_source, { position, count, bytes }) {
        sizes.push(bytes.length)
        // As a proxy does whose broker is down, and then a broker with a limit.
        if (sizes.length < 7 || bytes.length > 200_000) throw new RecordTooLargeError(new Error('closed'), false)
        for (let index = 0; index < count; index += 1) received.push(position + index)
        return 0
      }
    })
    await until(() => received.length === 500)
    await end()
    t.same(
      received,
      Array.from({ length: 500 }, (_, index) => index + 1)
    )
    t.ok(Math.min(...sizes.slice(0, 6)) >= 60_000, `the smallest has ${Math.min(...sizes.slice(0, 6))} bytes`)
    t.same(dropped, [])
  }
)
