/** A sink whose folder is unusable at its start, as on a full disk. */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Registry } from '@prometheus-io/client'
import t from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { createSink } from '../sink.ts'

t.test('is not ready while it cannot write to its folder, and retries', async (t) => {
  const directory = t.testdir({})
  // No process listens on this port.
  const kafka = createKafka({ brokers: ['127.0.0.1:1'] }, 'test')
  const logs = { topic: 'logs', partitions: 1, replication: 1, retention: 1000, retentionBytes: 1000 }
  const rotate = { bytes: 1000, age: 1000 }
  const sink = createSink(
    { kafka, clientId: 'test', log: silentLog, registry: new Registry() },
    { directory, name: 'sink', group: 'sinks', rotate, maxBytes: 1000, logs }
  )
  const failure = async () => {
    const [dependency] = sink.dependencies
    return dependency?.probe().then(
      () => undefined,
      (error: Error) => error.message
    )
  }
  sink.start()
  t.teardown(async () => {
    await sink.stop()
    await sink.close()
  })
  t.equal(await failure(), 'the folder sink is unusable (ENOENT)')
  mkdirSync(join(directory, 'sink'))
  await until('the sink connects to the brokers', async () => (await failure()) === 'no broker is reachable')
})
