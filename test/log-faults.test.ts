/** log-sink with a full disk, a deleted topic, and invalid records. */

import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { engineAddress, testKafka } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { collectedLines, startProcess, startSink, temporaryFolder } from './support/log-stack.ts'
import { startWithinMs } from './support/product.ts'

t.setTimeout(600_000)
const brokers = engineAddress('TEST_KAFKA_BROKERS')

/** The environment of a sink with its own topic, group and folders. */
function surroundings(directory: string) {
  const id = randomBytes(4).toString('hex')
  return {
    KAFKA_BROKERS: brokers,
    KAFKA_LOGS_TOPIC: `logs-${id}`,
    LOG_SINK_GROUP: `sinks-${id}`,
    LOG_SPOOL_DIRECTORY: join(directory, 'spool'),
    LOG_SINK_DIRECTORY: join(directory, 'logs')
  }
}

const numbered = (directory: string) => collectedLines(directory).filter(({ event }) => event === 'numbered')
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** Mounts a file system of its own. @returns whether this process may mount */
function mountDisk(path: string, size: string): boolean {
  mkdirSync(path, { recursive: true })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

t.test('a full disk stalls the sink, loses no line, and collecting resumes by itself', async (t) => {
  t.setTimeout(600_000)
  const directory = temporaryFolder(t)
  const env = surroundings(directory)
  if (!mountDisk(env.LOG_SINK_DIRECTORY, '3m')) {
    t.pass('a full disk', { skip: 'mounting a small disk takes root' })
    return
  }
  t.teardown(() => execFileSync('umount', ['--lazy', env.LOG_SINK_DIRECTORY]))
  const sink = await startSink(t, env)
  await until('the sink is ready', sink.isReady, startWithinMs)
  const ballast = join(env.LOG_SINK_DIRECTORY, 'ballast')
  writeFileSync(ballast, Buffer.alloc(2 * 2 ** 20))
  const producer = startProcess(t, ['test/support/log-producer.ts', 'producer', '1', '8000', '4000'], env)
  await until('the sink is not ready', async () => !(await sink.isReady()), 30_000)
  const { text } = await sink.ops('/readyz?verbose')
  t.match(text, /\[-\] disk: the disk is full/)
  t.equal(await sink.metric('log_sink_stalled'), 1)
  t.match(sink.output(), /"level":"error".*"reason":"the disk is full"/, 'an error on standard output')
  // Longer than the session timeout of the group.
  await sleep(8000)
  t.notOk(await sink.isReady())
  t.equal(await sink.metric('log_sink_partitions'), 6, 'the sink is still a member of the group')
  t.ok((await sink.metric('log_sink_lag_seconds')) > 0 || numbered(env.LOG_SINK_DIRECTORY).length < 8000)
  rmSync(ballast)
  await until('the sink is ready again', sink.isReady, 30_000)
  await until('all lines are collected', () => numbered(env.LOG_SINK_DIRECTORY).length >= 8000, 30_000)
  t.equal(await sink.metric('log_sink_stalled'), 0)
  t.same(
    numbered(env.LOG_SINK_DIRECTORY).map(({ count }) => count),
    range(1, 8000),
    'each line once, in order'
  )
  t.equal(await producer.end('SIGTERM'), 0)
  t.equal(await sink.end('SIGTERM'), 0)
})

t.test('log-sink reports a deleted topic and does not create it again', async (t) => {
  t.setTimeout(600_000)
  const directory = temporaryFolder(t)
  const env = surroundings(directory)
  const topic = env.KAFKA_LOGS_TOPIC
  const admin = createKafka(testKafka(), 'test').admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const sink = await startSink(t, { ...env, KAFKA_LOGS_PARTITIONS: '3', KAFKA_LOGS_RETENTION: '2h' })
  await until('the sink is ready', sink.isReady, startWithinMs)
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  t.equal(topics[0]?.partitions.length, 3, 'the topic has the configured partitions')
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: 2, name: topic, configNames: ['retention.ms'] }]
  })
  t.equal(resources[0]?.configEntries[0]?.configValue, '7200000', 'and the retention')
  const producer = startProcess(t, ['test/support/log-producer.ts', 'producer', '1', '1000', '1000'], env)
  await until('lines are collected', () => numbered(env.LOG_SINK_DIRECTORY).length === 1000, 30_000)

  await admin.deleteTopics({ topics: [topic] })
  const reason = /\[-\] kafka: the topic logs-\w+ was deleted, .* remove (\S+)$/m
  await until(
    'readiness reports the deleted topic',
    async () => reason.test((await sink.ops('/readyz?verbose')).text),
    60_000
  )
  await sleep(2000)
  t.notOk((await admin.listTopics()).includes(topic), 'the topic is not created again')
  t.match(sink.output(), /"level":"error".*"event":"topic_lost".*is gone/)

  const marker = join(env.LOG_SINK_DIRECTORY, `topic-${topic}.json`)
  t.ok(existsSync(marker))
  t.ok(reason.exec((await sink.ops('/readyz?verbose')).text)?.[1]?.endsWith(`topic-${topic}.json`))
  rmSync(marker)
  await until('the sink has created a new topic', sink.isReady, 60_000)
  const later = startProcess(t, ['test/support/log-producer.ts', 'later', '1', '1000', '1000'], env)
  await until('lines are collected again', () => numbered(env.LOG_SINK_DIRECTORY).length === 2000, 30_000)
  await Promise.all([producer.end('SIGTERM'), later.end('SIGTERM')])
  t.equal(await sink.end('SIGTERM'), 0)
})

t.test('writes invalid records to the dead-letter file with reason, topic, partition and offset', async (t) => {
  const directory = temporaryFolder(t)
  const env = surroundings(directory)
  const topic = env.KAFKA_LOGS_TOPIC
  // The lines of the sink itself would take offsets.
  const sink = await startSink(t, { ...env, LOG_LEVEL: 'silent' })
  await until('the sink is ready', sink.isReady, startWithinMs)
  const producer = createKafka(testKafka(), 'test').producer({ allowAutoTopicCreation: false })
  await producer.connect()
  t.teardown(() => producer.disconnect())
  const good = {
    level: 'info',
    time: new Date().toISOString(),
    service: 'else',
    instance: 'one',
    event: 'numbered',
    msg: 'good'
  }
  const messages = [
    { value: 'no key', partition: 2 },
    { key: 'else/one', value: 'no position', partition: 2 },
    { key: 'else/one', value: `${JSON.stringify(good)}\nnonsense\n`, headers: { position: '1' }, partition: 2 }
  ]
  await producer.send({ topic, messages })
  await until(
    'the invalid records are counted',
    async () => (await sink.metric('log_sink_dead_letters_total')) === 3,
    30_000
  )
  const letters = collectedLines(env.LOG_SINK_DIRECTORY, 'dead-letters') as unknown as Record<string, unknown>[]
  t.match(letters, [
    { topic, partition: 2, offset: 0, reason: 'the key is not a source (service/instance)', line: 'no key' },
    { topic, partition: 2, offset: 1, reason: /position/, line: 'no position' },
    {
      topic,
      partition: 2,
      offset: 2,
      source: 'else/one',
      position: 2,
      reason: 'the line is shorter than any log line',
      line: 'nonsense'
    }
  ])
  t.match(numbered(env.LOG_SINK_DIRECTORY), [{ msg: 'good' }])
  t.ok(await sink.isReady())
})
