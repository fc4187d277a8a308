/** Shipping the disk buffer: in order, from the shipping position, over crashes and failures of the brokers. */

import { appendFileSync, existsSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { listSegments, readShipped } from '#common/logging/spool/layout.ts'
import { RecordTooLargeError } from '#common/logging/spool/piece-size.ts'
import { openSource } from '#common/logging/spool/source.ts'
import { newSpool, numbered, own as ownDirectory, startShipping, writeEach } from './new-spool.ts'

t.test('ships all lines in order with their positions; then the process removes the directory', async (t) => {
  const { spool, directory, own } = newSpool(t)
  for (const line of numbered(1, 500)) spool.write(`${line}\n`)
  spool.flush()
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.state.shipped === 500)
  for (const line of numbered(501, 700)) spool.write(`${line}\n`)
  spool.close()
  await shipping.until(() => shipping.state.shipped === 700)
  t.same(shipping.lines(), numbered(1, 700))
  let position = 1
  for (const batch of shipping.sent) {
    t.match(batch, { position, source: 'svc/host-1' })
    position += batch.lines.length
  }
  t.same([shipping.sent[0]?.partition, shipping.sent.at(-1)?.partition], [-1, 3], 'the partition is kept')
  t.equal(await shipping.end(), true)
  spool.remove()
  t.notOk(existsSync(own))
})

t.test('keeps a line that comes after the end of the shipper', async (t) => {
  const { spool, directory, own } = newSpool(t)
  writeEach(spool, ['shipped'])
  spool.close()
  const first = startShipping(directory)
  t.equal(await first.end(), true)
  writeEach(spool, ['late'])
  spool.remove()
  t.equal(listSegments(own).length, 2)
  const second = startShipping(directory)
  await second.until(() => second.state.shipped > 0)
  t.match(second.sent, [{ position: 2, lines: ['late'] }])
  await second.end()
})

t.test('removes shipped segments, and continues at the shipping position after a crash', async (t) => {
  const { spool, directory, own } = newSpool(t)
  writeEach(spool, numbered(1, 100))
  const first = startShipping(directory)
  await first.until(() => first.state.shipped === 100)
  t.equal(listSegments(own).length, 1)
  await first.cutOff()
  writeEach(spool, ['line 101'])
  const second = startShipping(directory)
  await second.until(() => second.state.shipped > 0)
  t.match(second.sent, [{ position: 101, lines: ['line 101'], partition: 3 }])
  await second.end()
})

t.test('ships all lines again if the shipping position is damaged', async (t) => {
  const { spool, directory, own } = newSpool(t, 100_000)
  writeEach(spool, numbered(1, 10))
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

t.test('adopts the sources of ended processes, ships them under their names and removes them', async (t) => {
  const { directory, spool, open } = newSpool(t)
  const dead = open('host-dead')
  writeEach(dead, numbered(1, 50))
  dead.close()
  ownDirectory(join(directory, 'host-dead'), false)
  const living = open('host-living')
  writeEach(living, ['of a living process'])
  living.close()
  ownDirectory(join(directory, 'host-living'), true)
  writeEach(spool, ['own'])
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.state.shipped === 51)
  const adopted = shipping.sent.filter(({ source }) => source === 'svc/host-dead')
  t.same(
    adopted.flatMap(({ lines }) => lines),
    numbered(1, 50)
  )
  await shipping.until(() => !existsSync(join(directory, 'host-dead')))
  t.ok(existsSync(join(directory, 'host-living')))
  await shipping.end()
})

t.test('drops and counts a partial line at the end of an ended process', async (t) => {
  const { directory, open } = newSpool(t)
  const dead = open('host-dead')
  writeEach(dead, ['whole'])
  dead.close()
  appendFileSync(listSegments(join(directory, 'host-dead'))[0]?.path ?? '', 'hal')
  ownDirectory(join(directory, 'host-dead'), false)
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.dropped.length > 0)
  t.same(shipping.lines(), ['whole'])
  t.same(shipping.dropped, [[1, 'torn']])
  await shipping.end()
})

t.test('counts a partial line of its own process once, also if a line follows the end of the shipper', async (t) => {
  const { directory, own, spool } = newSpool(t)
  writeEach(spool, ['whole'])
  spool.close()
  appendFileSync(listSegments(own)[0]?.path ?? '', 'hal')
  const first = startShipping(directory)
  t.equal(await first.end(), true)
  t.same(first.dropped, [[1, 'torn']])
  writeEach(spool, ['late'])
  const second = startShipping(directory)
  await second.until(() => second.state.shipped > 0)
  await second.end()
  t.same(second.lines(), ['late'])
  t.same(second.dropped, [])
})

t.test('ships the following segments after damaged ones', async (t) => {
  const { directory, own, spool } = newSpool(t, 100)
  writeEach(spool, numbered(1, 40))
  spool.close()
  const [first, second] = listSegments(own)
  truncateSync(first?.path ?? '', 15)
  truncateSync(second?.path ?? '', 0)
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.lines().at(-1) === 'line 0040')
  t.equal(shipping.lines()[0], 'line 0001')
  t.ok(shipping.dropped.some(([, reason]) => reason === 'torn'))
  await shipping.end()
})

t.test('ends without waiting for brokers that are down, and keeps all lines', async (t) => {
  const { directory, own, spool } = newSpool(t, 100_000)
  writeEach(spool, numbered(1, 10))
  spool.close()
  const shipping = startShipping(directory, {}, true)
  await shipping.until(() => shipping.state.failures > 2)
  // The clock does not advance, so the end waits for no retry.
  t.equal(await shipping.end(), false)
  t.ok(existsSync(own))
  const next = startShipping(directory)
  await next.until(() => next.state.shipped === 10)
  await next.end()
})

t.test('backs off while the brokers are down', async (t) => {
  const { directory, spool } = newSpool(t)
  writeEach(spool, ['a line'])
  const shipping = startShipping(directory, {}, true)
  await shipping.clock.advance(10_000)
  t.ok(shipping.state.failures >= 10 && shipping.state.failures <= 30, `${shipping.state.failures} attempts in 10 s`)
  await shipping.end()
})

t.test('a source without a directory has no lines', async (t) => {
  const source = openSource('svc/gone', join(t.testdir({}), 'gone'), () => {})
  t.equal(source.next(Buffer.alloc(1000)), undefined)
  t.equal(source.bytes(), 0)
  t.equal(source.dropOldest(), false)
})

t.test('sends smaller pieces, to a bound, while connections are closed, and drops no line', async (t) => {
  const { directory, spool } = newSpool(t, 2 ** 20)
  writeEach(
    spool,
    Array.from({ length: 500 }, () => 'x'.repeat(1023))
  )
  const sizes: number[] = []
  const received: number[] = []
  const shipping = startShipping(directory, {
    async send(_source, { position, count, bytes }) {
      sizes.push(bytes.length)
      // First a proxy whose broker is down, then a broker with a limit.
      if (sizes.length < 7 || bytes.length > 200_000) throw new RecordTooLargeError(new Error('closed'), false)
      for (let index = 0; index < count; index += 1) received.push(position + index)
      return 0
    }
  })
  await shipping.until(() => received.length === 500)
  await shipping.end()
  t.same(
    received,
    Array.from({ length: 500 }, (_, index) => index + 1)
  )
  const smallest = Math.min(...sizes.slice(0, 6))
  t.ok(smallest >= 60_000, `the smallest piece has ${smallest} bytes`)
  t.same(shipping.dropped, [])
})
