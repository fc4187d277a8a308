/** The thread of the shipper. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startShipperThread } from '#common/logging/spool/shipper-thread.ts'
import { until } from '#common/testing/until.ts'
import { systemClock } from '#common/time/clock.ts'

t.test('restarts a thread that fails, with backoff', async (t) => {
  const directory = join(t.testdir({}), 'svc')
  // A file in place of the directory makes the thread fail.
  writeFileSync(directory, '')
  const kafka = { brokers: [], compression: 'none' as const, logs: { topic: 'logs' } }
  const data = { service: 'svc', instance: 'host-1', directory, maxBytes: 1000, kafka, retains: false }
  const delaysMs: number[] = []
  const events = { reported: () => {}, failed: () => {} }
  const clock = { ...systemClock, sleep: async (ms: number) => void delaysMs.push(ms) }
  const thread = startShipperThread(data, events, clock)
  await until('the thread has failed four times', () => delaysMs.length >= 4)
  await thread.end(1000)
  for (const [index, ms] of delaysMs.slice(0, 4).entries()) {
    t.ok(ms >= 500 * 2 ** index && ms <= 1000 * 2 ** index, `delay ${index}: ${ms} ms`)
  }
})
