/** Brokers with a lower limit than the product's requests, and with clocks that differ from the product's. */

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createKafka, createSender } from '#common/kafka/client.ts'
import { createTopic } from '#common/kafka/topic.ts'
import { openServiceLog } from '#common/logging/service-log.ts'
import { createRegistry } from '#common/ops/metrics.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { engineAddress, testKafka } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { collectedLines, startProcess, startSink, temporaryFolder } from './support/log-stack.ts'

t.setTimeout(600_000)
const brokers = engineAddress('TEST_KAFKA_BROKERS').split(',')
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** An existing topic with this configuration, and a sink that reads it. */
async function startWith(t: Test, configuration: Record<string, string>) {
  const directory = temporaryFolder(t)
  const id = randomBytes(4).toString('hex')
  const topic = `logs-${id}`
  const admin = createKafka(testKafka(), 'test').admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const entries = (values: Record<string, string>) => Object.entries(values).map(([name, value]) => ({ name, value }))
  await createTopic(admin, { topic, numPartitions: 6, configEntries: entries(configuration) })
  const env = {
    KAFKA_BROKERS: brokers.join(','),
    KAFKA_LOGS_TOPIC: topic,
    LOG_SINK_GROUP: `sinks-${id}`,
    LOG_SPOOL_DIRECTORY: join(directory, 'spool'),
    LOG_SINK_DIRECTORY: join(directory, 'logs'),
    LOG_LEVEL: 'silent'
  }
  const counts = () =>
    collectedLines(env.LOG_SINK_DIRECTORY)
      .flatMap(({ event, count }) => (event === 'numbered' ? [Number(count)] : []))
      .sort((a, b) => a - b)
  return {
    env,
    counts,
    sink: await startSink(t, env),
    configure: (values: Record<string, string>) =>
      admin.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: topic, configEntries: entries(values) }] })
  }
}

/** The log of this process. */
function openLog(t: Test, env: Record<string, string>) {
  const registry = createRegistry('large')
  const spool = { directory: env.LOG_SPOOL_DIRECTORY ?? '', maxBytes: 2 ** 30 }
  const { log, startShipping, close } = openServiceLog(
    'large',
    {
      log: { level: 'info', stdout: 'fatal', spool },
      kafka: { ...testKafka(), compression: 'zstd', logs: { topic: env.KAFKA_LOGS_TOPIC ?? '' } }
    },
    registry
  )
  t.teardown(() => close(1000))
  startShipping()
  return {
    // Random, so that compression does not make the lines smaller.
    write: (count: number, bytes: number) =>
      log.info({ event: 'numbered', count, reason: randomBytes(bytes).toString('base64') }, 'a numbered line'),
    tooLarge: async () => Number(/^log_dropped_total\{reason="too_large"\} (\d+)$/m.exec(await registry.metrics())?.[1])
  }
}

fieldCase(
  t,
  17,
  'batches are split until the brokers take them; a line that is too large alone is in a dead-letter file and counted',
  async (t) => {
    const { env, counts, sink, configure } = await startWith(t, { 'max.message.bytes': '2000' })
    const { write, tooLarge } = openLog(t, env)
    for (const count of range(1, 300)) write(count, count % 100 === 50 ? 4000 : 100)
    const expected = range(1, 300).filter((count) => count % 100 !== 50)
    await until('all lines except the large ones are collected', () => counts().length >= expected.length, 60_000)
    t.same(counts(), expected, 'each line once')
    t.equal(await tooLarge(), 3, 'the large lines are counted where they were written')
    const missing = () => sink.metric('log_sink_missing_total')
    await until('the sink counts the same lines', async () => (await missing()) === 3)
    t.equal(await sink.metric('log_sink_duplicates_total'), 0)
    const letters = readFileSync(join(env.LOG_SPOOL_DIRECTORY, 'large', 'dead-letters.ndjson'), 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line))
    t.same(
      letters.map(({ line, reason }) => [JSON.parse(line).count, reason]),
      [50, 150, 250].map((count) => [count, 'too_large'])
    )

    await t.test('a limit that is lowered while the product runs', async (t) => {
      await configure({ 'max.message.bytes': '700' })
      for (const count of range(301, 400)) write(count, 100)
      await until('the lines that follow are collected', () => counts().at(-1) === 400, 60_000)
      t.same(counts().slice(-100), range(301, 400))
      t.equal(await missing(), 3)
    })

    await t.test('a limit that is raised again', async (t) => {
      await configure({ 'max.message.bytes': '1000000' })
      write(401, 4000)
      await until('a large line is collected', () => counts().at(-1) === 401, 60_000)
      t.equal(await tooLarge(), 3)
    })
  }
)

const twoHoursMs = 7_200_000

for (const type of ['CreateTime', 'LogAppendTime']) {
  fieldCase(t, 18, `lines are shipped by the brokers' clock, to a topic with ${type}`, async (t) => {
    const { env, counts, sink } = await startWith(t, { 'message.timestamp.type': type })
    for (const [service, shiftMs] of Object.entries({ ahead: twoHoursMs, behind: -10 * 24 * twoHoursMs })) {
      const clock = `const now = Date.now; Date.now = () => now() + ${shiftMs}`
      const args = ['--import', `data:text/javascript,${encodeURIComponent(clock)}`]
      startProcess(t, [...args, 'test/support/log-producer.ts', service, '1', '500', '1000'], env)
    }
    await until('all lines are collected', () => counts().length >= 1000, 60_000)
    t.same(
      counts(),
      range(1, 500).flatMap((count) => [count, count])
    )
    t.equal(await sink.metric('log_sink_missing_total'), 0)
    const lag = await sink.metric('log_sink_lag_seconds')
    t.ok(lag >= 0 && lag < 60, `a lag of ${lag} s`)
  })
}

fieldCase(t, 18, 'an event of an account is published from a service whose clock is ahead', async (t) => {
  const topic = `events-${randomBytes(4).toString('hex')}`
  const admin = createKafka(testKafka(), 'test').admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  await createTopic(admin, { topic, configEntries: [{ name: 'message.timestamp.type', value: 'CreateTime' }] })
  const now = Date.now
  t.teardown(() => {
    Date.now = now
  })
  Date.now = () => now() + twoHoursMs
  const sender = createSender({ ...testKafka(), compression: 'zstd' }, 'test')
  t.teardown(sender.close)
  t.equal(await sender.send(topic, { key: 'user', value: '{}' }), 0)
})
