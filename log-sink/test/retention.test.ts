/** Retention through a real sink: beyond `logSink.maxBytes` the oldest collected lines of all partitions are removed. */

import { randomBytes } from 'node:crypto'
import { globSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Registry } from '@prometheus-io/client'
import t from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { silentLog, testKafka } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { collectedLines, sumOf } from '../../test/support/log-stack.ts'
import { createSink } from '../sink.ts'
import { record } from './new-partition.ts'

t.setTimeout(600_000)

const kafka = createKafka(testKafka(), 'test')
const topic = `retention-${randomBytes(4).toString('hex')}`
const logs = { topic, partitions: 2, replication: 1, retention: 3_600_000, retentionBytes: 2 ** 30 }
const maxBytes = 280_000
const records = 10

/** Above 64 KiB, so that the sink fetches it at once; random, so that compression does not make it small. */
const incompressible = () => randomBytes(60_000).toString('base64')

t.test('keeps the newest lines within maxBytes, over all partitions', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'retention-'))
  mkdirSync(join(directory, 'sink'))
  // Not at the end of the test: on a busy machine, the consumer can outlive `close`, and would wait for its folder.
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  const registry = new Registry()
  const rotate = { bytes: 1, age: 1_000_000 }
  const sink = createSink(
    { kafka, clientId: 'test', log: silentLog, registry },
    { directory, name: 'sink', group: topic, rotate, maxBytes, logs }
  )
  sink.start()
  const producer = kafka.producer({ allowAutoTopicCreation: false })
  t.teardown(async () => {
    await producer.disconnect()
    await sink.stop()
    await sink.close()
  })
  const metric = async (name: string) => sumOf(await registry.metrics(), name)
  await until('the sink owns both partitions', async () => (await metric('log_sink_partitions')) === 2)
  await producer.connect()
  // One record for each file: a file is replaced before the next batch of its partition.
  for (let index = 0; index < records; index += 1) {
    const { key, value, headers } = record(0, Math.floor(index / 2) + 1, `${index} ${incompressible()}`)
    const message = {
      key: `${key}-${index % 2}`,
      value: String(value).replace('"instance":"a"', `"instance":"a-${index % 2}"`),
      headers: headers as { position: Buffer },
      partition: index % 2
    }
    await producer.send({ topic, messages: [message] })
    await until('the record is collected', async () => (await metric('log_sink_written_total')) === index + 1)
  }

  const files = () => globSync('sink/partition-*/*', { cwd: directory }).map((file) => join(directory, file))
  const sizeOnDisk = () =>
    files().reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0)
  await until(
    'the files fit',
    async () => sizeOnDisk() <= maxBytes && (await metric('log_sink_stored_bytes')) <= maxBytes
  )
  const kept = collectedLines(directory)
    .map(({ msg }) => Number(msg.split(' ')[0]))
    .sort((a, b) => a - b)
  t.ok(kept.length >= 3 && kept.length < records, `kept ${kept.length} of ${records} lines`)
  t.same(
    kept,
    Array.from({ length: kept.length }, (_, index) => records - kept.length + index),
    'the newest lines, without a gap'
  )
})
