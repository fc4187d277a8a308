/** The limit of the disk buffer: with Kafka the oldest lines are dropped and counted, without Kafka it is retention. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { listSegments } from '#common/logging/spool/layout.ts'
import { newSpool, numbered, own as ownDirectory, startShipping, writeEach } from './new-spool.ts'

t.test('drops the oldest lines beyond the limit, counts them, and keeps their positions empty', async (t) => {
  const { directory, own, spool } = newSpool(t, 1000)
  writeEach(spool, numbered(1, 1000))
  const limited = startShipping(directory, { send: undefined, maxBytes: 5000 })
  await limited.until(() => limited.state.bytes > 0)
  t.ok(limited.state.bytes <= 5000, `${limited.state.bytes} bytes`)
  const dropped = limited.droppedCount()
  t.ok(limited.dropped.every(([, reason]) => reason === 'spool_full'))
  t.equal(await limited.end(), false, 'without brokers nothing is shipped')
  t.equal(listSegments(own)[0]?.first, dropped + 1)
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.state.shipped === 1000 - dropped)
  t.equal(shipping.sent[0]?.position, dropped + 1)
  t.equal(shipping.lines().at(-1), 'line 1000')
  await shipping.end()
})

t.test('the limit drops no lines in flight, which are shipped before later ones', async (t) => {
  const { directory, spool } = newSpool(t, 1000)
  writeEach(spool, numbered(1, 50))
  const shipping = startShipping(directory, { maxBytes: 3000 }, true)
  await shipping.until(() => shipping.state.failures > 0)
  writeEach(spool, numbered(51, 1000))
  await shipping.until(() => shipping.dropped.length > 0)
  shipping.state.failing = false
  await shipping.until(() => shipping.lines().at(-1) === 'line 1000')
  t.equal(shipping.state.shipped + shipping.droppedCount(), 1000, 'each line is shipped or counted')
  t.equal(shipping.lines()[0], 'line 0001')
  t.same(shipping.lines(), [...shipping.lines()].sort())
  await shipping.end()
})

t.test('a buffer that retains removes the oldest lines of all processes, and counts none as dropped', async (t) => {
  const { directory, own, spool, open } = newSpool(t, 1000)
  const dead = open('host-dead')
  for (const each of [dead, spool]) writeEach(each, numbered(1, 300))
  dead.close()
  ownDirectory(join(directory, 'host-dead'), false)
  const kept = startShipping(directory, { send: undefined, retains: true, maxBytes: 2000 })
  await kept.until(() => !existsSync(join(directory, 'host-dead')))
  await kept.until(() => kept.state.bytes > 0 && kept.state.bytes <= 2000)
  t.same(kept.dropped, [])
  t.equal(await kept.end(), false)
  const segments = listSegments(own)
  t.ok(segments.length > 0 && (segments[0]?.first ?? 0) > 1, 'the newest lines of the running process are kept')
})
