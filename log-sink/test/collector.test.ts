/** The state that a collector reports: unresponsive brokers, hanging batches and a failing disk. */

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { silentLog } from '#common/testing/service.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { until } from '#common/testing/until.ts'
import { sumOf } from '../../test/support/log-stack.ts'
import { createCollector } from '../collector.ts'
import { DiskError } from '../disk-state.ts'
import type { PartitionBatch } from '../group-handler.ts'
import { keepFiles } from '../keeper.ts'
import { sinkMetrics } from '../metrics.ts'
import { line, record } from './new-partition.ts'

/** A collector whose clock the test advances. */
function newCollector(t: Test) {
  const directory = t.testdir({})
  const clock = createTestClock()
  const keeper = keepFiles(directory, 2 ** 20, () => {}, silentLog)
  const registry = new Registry()
  const metrics = sinkMetrics(registry, () => 0)
  const options = { directory, topic: 'logs', rotate: { bytes: 1000, age: 1000 }, keeper, metrics, log: silentLog }
  const collector = createCollector({ ...options, clock, now: clock.now }, new AbortController().signal)
  t.teardown(collector.close)
  return { directory, clock, collector, registry }
}

/** A batch of one record. */
const batchAt = (offset: number, end = offset + 1, writtenAt = 0): PartitionBatch => ({
  ...{ partition: 0, records: [record(offset, offset + 1, `${offset}`)], next: offset + 1, end, writtenAt }
})
const control = { commit: async () => {}, heartbeat: async () => {} }

t.test('brokers are unresponsive five seconds after their last response, and this time is lag', async (t) => {
  const { clock, collector } = newCollector(t)
  await collector.onAssigned([0], new Map())
  await clock.advance(5000)
  t.notOk(collector.isUnresponsive())
  t.equal(collector.lagSeconds(), 0)
  await clock.advance(1000)
  t.ok(collector.isUnresponsive())
  t.equal(collector.lagSeconds(), 6)
  collector.onResponse()
  t.notOk(collector.isUnresponsive())
  t.equal(collector.lagSeconds(), 0)
})

t.test('a batch hangs after 15 seconds, and the brokers are not unresponsive meanwhile', async (t) => {
  const { clock, collector } = newCollector(t)
  await collector.onAssigned([0], new Map())
  const committing = Promise.withResolvers<void>()
  const collecting = collector.collect(batchAt(0), { ...control, commit: () => committing.promise })
  await clock.advance(15_000)
  t.equal(collector.diskFailure(), undefined)
  await clock.advance(1)
  t.equal(collector.diskFailure(), 'a batch has been in progress for 15 seconds')
  t.notOk(collector.isUnresponsive())
  committing.resolve()
  await collecting
  t.equal(collector.diskFailure(), undefined)
  t.notOk(collector.isUnresponsive(), 'the end of a batch counts as a response')
})

t.test('the lag is the age of the last collected record while others wait behind it', async (t) => {
  const { clock, collector } = newCollector(t)
  await collector.onAssigned([0], new Map())
  await clock.advance(4000)
  await collector.collect(batchAt(0, 10, 1000), control)
  t.equal(collector.lagSeconds(), 3)
  await collector.collect(batchAt(1, 10, 60_000), control)
  t.equal(collector.lagSeconds(), 0, 'the clock of the brokers is ahead')
  await collector.collect(batchAt(2, 10, 2000), control)
  await collector.collect(batchAt(3, 4, 2000), control)
  t.equal(collector.lagSeconds(), 0, 'no record waits')
})

t.test('retries a failed write after a second and a heartbeat, and reports the disk until it works', async (t) => {
  const { directory, clock, collector } = newCollector(t)
  await collector.onAssigned([0], new Map())
  let heartbeats = 0
  async function heartbeat(): Promise<void> {
    heartbeats += 1
  }
  await collector.collect(batchAt(0), { ...control, heartbeat })
  const folder = join(directory, 'partition-0')
  // A folder of this name makes writing a checkpoint fail.
  mkdirSync(join(folder, 'checkpoint.tmp'))
  rmSync(join(folder, 'checkpoint.json'))
  const collecting = collector.collect(batchAt(1), { ...control, heartbeat })
  await until('the write fails', () => collector.diskFailure() === 'the disk fails (EISDIR)')
  await clock.advance(999)
  t.equal(heartbeats, 0)
  rmSync(join(folder, 'checkpoint.tmp'), { recursive: true })
  await clock.advance(1)
  t.equal(heartbeats, 1)
  await collecting
  t.equal(collector.diskFailure(), undefined)
  t.ok(existsSync(join(folder, 'checkpoint.json')))
})

t.test('a failed recovery is a DiskError', async (t) => {
  const { directory, collector } = newCollector(t)
  writeFileSync(join(directory, 'partition-0'), 'a file in place of the folder')
  await t.rejects(collector.onAssigned([0], new Map()), DiskError)
  t.equal(collector.diskFailure(), 'the disk fails (ENOTDIR)')
})

t.test('counts lines and duplicates by service, also those of unknown services together', async (t) => {
  const { collector, registry } = newCollector(t)
  await collector.onAssigned([0], new Map())
  const sources = ['user-svc/1', 'gateway/1', 'gateway/1', 'gateway/1', 'svc/a', 'x/b', 'user-svc/1']
  const records = sources.map((source, offset) => {
    const [service = '', instance = ''] = source.split('/')
    const value = Buffer.from(`${line('one').replace('"svc"', `"${service}"`).replace('"a"', `"${instance}"`)}\n`)
    return { ...record(offset, 1, ''), key: Buffer.from(source), value }
  })
  await collector.collect({ ...batchAt(0), records, next: records.length, end: records.length }, control)
  const page = await registry.metrics()
  const seriesOf = (name: string, service: string) => sumOf(page, `log_sink_${name}_total{service="${service}"}`)
  for (const [service, written, duplicates] of [
    ['gateway', 1, 2],
    ['user-svc', 1, 1],
    ['session-svc', 0, 0],
    ['log-sink', 0, 0],
    ['other', 2, 0]
  ] as const) {
    t.equal(seriesOf('written', service), written, `written by ${service}`)
    t.equal(seriesOf('duplicates', service), duplicates, `duplicates of ${service}`)
  }
})
