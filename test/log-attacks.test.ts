/** Hostile records in the log topic: none stops a sink, and none hides the lines of a real source. */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import kafkajs, { type Transaction } from 'kafkajs'
import t, { type Test } from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { namesIn } from '#common/logging/spool/layout.ts'
import { engineAddress, testKafka } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { collectedLines, startProcess, startSink, temporaryFolder } from './support/log-stack.ts'
import { startWithinMs } from './support/product.ts'

t.setTimeout(300_000)
const { CompressionCodecs, CompressionTypes } = kafkajs
const partition = 0

// A frame of one block that is not compressed.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async ({ buffer }: { buffer: Buffer }) => {
    const size = Buffer.alloc(4)
    size.writeUInt32LE(buffer.length + 2 ** 31)
    return Buffer.concat([Buffer.from('04224d18604082', 'hex'), size, buffer, Buffer.alloc(4)])
  },
  decompress: () => Promise.reject(new Error('not called'))
})

/** A line that is valid, and that its source has never logged. */
function forgedLine(source: string): string {
  const [service, instance] = source.split('/')
  return `${JSON.stringify({ time: '2026-11-24T08:00:00Z', level: 'info', service, instance, msg: 'forged' })}\n`
}

/** A sink and a live source in the partition that is attacked. */
async function start(t: Test) {
  const directory = temporaryFolder(t)
  const id = randomBytes(4).toString('hex')
  const topic = `logs-${id}`
  const env = {
    KAFKA_BROKERS: engineAddress('TEST_KAFKA_BROKERS'),
    KAFKA_LOGS_TOPIC: topic,
    LOG_SINK_GROUP: `sinks-${id}`,
    LOG_SPOOL_DIRECTORY: join(directory, 'spool'),
    LOG_SINK_DIRECTORY: join(directory, 'logs'),
    LOG_LEVEL: 'silent'
  }
  const sink = { ...(await startSink(t, env)) }
  await until('the sink is ready', sink.isReady, startWithinMs)
  const live = startProcess(t, ['test/support/log-producer.ts', 'producer', '1', '1000000', '200', `${partition}`], {
    ...env,
    LOG_LEVEL: 'info'
  })
  const collected = () => collectedLines(env.LOG_SINK_DIRECTORY).filter(({ event }) => event === 'numbered')
  await until('lines of the live source are collected', () => collected().length > 200, 30_000)
  const source = `producer/${namesIn(join(env.LOG_SPOOL_DIRECTORY, 'producer'))[0]}`
  const producer = createKafka(testKafka(), 'attacker').producer({ allowAutoTopicCreation: false })
  await producer.connect()
  t.teardown(() => producer.disconnect())
  const send = (compression: number, message: Partial<Parameters<typeof producer.send>[0]['messages'][number]>) =>
    producer.send({ topic, compression, messages: [{ key: source, value: forgedLine(source), partition, ...message }] })
  const deadLetters = () => collectedLines(env.LOG_SINK_DIRECTORY, 'dead-letters') as unknown as { reason: string }[]
  return { env, sink, live, collected, source, send, deadLetters }
}

t.test(
  'a sink skips hostile records within its memory, also after a kill, and collects the lines behind them',
  async (t) => {
    const { env, sink, live, collected, send, deadLetters } = await start(t)
    const memory = () => sink.metric('process_resident_memory_bytes')
    const before = await memory()
    const bomb = Buffer.alloc(100 * 2 ** 20, ' ')
    await sink.end('SIGKILL')
    for (let count = 0; count < 3; count += 1) await send(CompressionTypes.ZSTD, { value: bomb })
    await send(CompressionTypes.GZIP, { value: bomb })
    await send(CompressionTypes.LZ4, {})
    const headers = Object.fromEntries(Array.from({ length: 50_000 }, (_, index) => [String(index), '']))
    await send(CompressionTypes.None, { headers })
    await send(CompressionTypes.ZSTD, { value: '\n'.repeat(4_000_000), headers: { position: '1' } })
    const at = collected().length
    Object.assign(sink, await startSink(t, env))
    let most = 0
    await until(
      'the lines behind the hostile records are collected',
      async () => {
        most = Math.max(most, (await memory()) || 0)
        return (await sink.metric('log_sink_refused_total{reason="batch"}')) === 6 && collected().length > at + 1000
      },
      60_000
    )
    t.equal(await sink.metric('log_sink_missing_total'), 0)
    await until('the sink is ready again', sink.isReady)
    t.ok(most < before + 150 * 2 ** 20, `${Math.round(most / 2 ** 20)} MiB, ${Math.round(before / 2 ** 20)} before`)
    t.same(
      deadLetters().map(({ reason }) => reason),
      [
        ...Array(4).fill('the batch has more than 4194304 bytes'),
        'the compression lz4 is not supported',
        'a record has more than 64 headers',
        'the record has more than 65536 lines'
      ]
    )
    await live.end('SIGTERM')
  }
)

t.test('a forged position neither hides a live source nor counts as missing lines', async (t) => {
  const { env, sink, live, collected, send, deadLetters, source } = await start(t)
  const isComplete = () => {
    const counts = collected().map(({ count }) => Number(count))
    return counts.every((count, index) => count === index + 1)
  }
  for (const position of ['900000000000000', '900000000000000', '500000000000000']) {
    const at = collected().length
    await send(CompressionTypes.None, { headers: { position } })
    await until('lines behind the forged record are collected', () => collected().length > at + 300, 30_000)
  }
  t.ok(isComplete(), 'the lines of the live source are complete')
  t.equal(await sink.metric('log_sink_refused_total{reason="position"}'), 2)
  t.equal(await sink.metric('log_sink_missing_total'), 0)
  t.match(deadLetters()[0], { reason: 'the position is too far ahead of its source', source })
  await sink.end('SIGKILL')
  const at = collected().length
  Object.assign(sink, await startSink(t, env))
  await until('a restarted sink collects the source', () => collected().length > at + 300, 30_000)
  t.ok(isComplete(), 'each line is collected once')
  await live.end('SIGTERM')
})

t.test('a record whose lines name another source than its key is refused, and hides no line', async (t) => {
  const { env, sink, live, collected, send, deadLetters, source } = await start(t)
  const [service = '', instance = ''] = source.split('/')
  // The live source reaches this position while the sink reads.
  const ahead = { position: String(collected().length + 100) }
  const forgeries = [
    { key: source, headers: ahead, value: forgedLine(`gateway/${instance}`).repeat(1000) },
    { key: source, headers: ahead, value: forgedLine(`${service}/other`).repeat(1000) },
    { key: source, headers: ahead, value: forgedLine(source) + forgedLine('gateway/other') },
    { key: 'gateway/other', headers: { position: '1' }, value: forgedLine(source) }
  ]
  for (const forgery of forgeries) await send(CompressionTypes.None, forgery)
  const at = collected().length
  await until('lines behind the forged records are collected', () => collected().length > at + 500, 30_000)
  const counts = collected().map(({ count }) => Number(count))
  t.ok(
    counts.every((count, index) => count === index + 1),
    'the lines of the live source are complete'
  )
  t.notOk(collectedLines(env.LOG_SINK_DIRECTORY).some(({ msg }) => msg === 'forged'))
  t.equal(await sink.metric('log_sink_refused_total{reason="source"}'), forgeries.length)
  t.equal(await sink.metric('log_sink_missing_total'), 0)
  t.equal(await sink.metric('log_sink_duplicates_total'), 0)
  t.match(
    deadLetters().map(({ reason }) => reason),
    Array(forgeries.length).fill('a line names another source than the key')
  )
  await live.end('SIGTERM')
})

t.test('a foreign member of the group gets no partitions, and a transaction does not hold back lines', async (t) => {
  const { env, sink, live, collected } = await start(t)
  const thief = createKafka(testKafka(), 'thief').consumer({ groupId: env.LOG_SINK_GROUP, sessionTimeout: 6000 })
  await thief.connect()
  t.teardown(() => thief.disconnect())
  await thief.subscribe({ topics: [env.KAFKA_LOGS_TOPIC], fromBeginning: true })
  const assigned = new Promise((resolve) => {
    thief.on(thief.events.GROUP_JOIN, ({ payload: { memberAssignment } }) => resolve(memberAssignment))
  })
  await thief.run({ autoCommit: false, eachMessage: async () => {} })
  t.same(await assigned, {})
  const transactional = createKafka(testKafka(), 'attacker').producer({
    transactionalId: env.KAFKA_LOGS_TOPIC,
    retry: { retries: 3 },
    maxInFlightRequests: 1,
    idempotent: true
  })
  t.teardown(() => transactional.disconnect())
  let transaction: Transaction | undefined
  await until('the brokers have created the topic of transactions', async () => {
    await transactional.connect()
    transaction = await transactional.transaction().catch(() => undefined)
    return transaction !== undefined
  })
  t.teardown(() => transaction?.abort())
  await transaction?.send({
    topic: env.KAFKA_LOGS_TOPIC,
    messages: [{ key: 'x/y', value: forgedLine('x/y'), partition }]
  })
  const at = collected().length
  await until('lines are collected', () => collected().length > at + 300, 30_000)
  t.equal(await sink.metric('log_sink_partitions'), await sink.metric('log_sink_topic_partitions'))
  t.ok((await sink.metric('log_sink_refused_total{reason="member"}')) > 0)
  await live.end('SIGTERM')
})
