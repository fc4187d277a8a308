/** Several sinks share the work; each line is in the files of one of them, whoever joins, leaves, is killed or frozen. */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { engineAddress } from '#common/testing.ts'
import { collectedLines, startProcess, startSink, temporaryFolder } from './support/log-stack.ts'
import { until } from './support/product.ts'

t.setTimeout(180_000)

t.test('two sinks, one of them killed, the other frozen until the group has given it up', async (t) => {
  t.setTimeout(180_000)
  const directory = temporaryFolder(t)
  const id = randomBytes(4).toString('hex')
  const env = {
    KAFKA_BROKERS: engineAddress('TEST_KAFKA_BROKERS'),
    KAFKA_LOGS_TOPIC: `logs-${id}`,
    LOG_SINK_GROUP: `sinks-${id}`,
    LOG_SPOOL_DIRECTORY: join(directory, 'spool')
  }
  // No disk in common: what one has to know of the other comes by way of the group.
  const sinkEnv = (name: string) => ({
    ...env,
    LOG_SINK_NAME: name,
    LOG_SINK_DIRECTORY: join(directory, 'logs', name),
    // What the sinks themselves log is no part of this.
    LOG_LEVEL: 'silent'
  })
  const to = 12_000
  const producers: { service: string; to: number; output(): string }[] = []
  function produce(count: number): void {
    const service = `producer-${producers.length + 1}`
    const child = startProcess(t, ['test/support/log-producer.ts', service, '1', String(count), '400'], env)
    producers.push({ service, to: count, output: child.output })
  }

  /** The lines of a process are in one partition, and so with one sink: others begin to write until this one has some. */
  async function untilItShares(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    for (let more = 0; more < 10; more += 1) {
      const endsAt = Date.now() + 6000
      while (Date.now() < endsAt) {
        if (await holds()) return
        await sleep(100)
      }
      produce(3000)
    }
    throw new Error(`not in time: ${what}`)
  }

  const collected = (name = '') =>
    collectedLines(join(directory, 'logs', name)).filter(({ event }) => event === 'numbered')

  let a = await startSink(t, sinkEnv('a'))
  await until('the first sink is ready', a.isReady, 30_000)
  for (let count = 0; count < 5; count += 1) produce(to)
  await until('the first sink collects', () => collected('a').length > 1000)
  const b = await startSink(t, sinkEnv('b'))
  await untilItShares('the second sink collects, too', () => collected('b').length > 1000)
  t.equal((await a.metric('log_sink_partitions')) + (await b.metric('log_sink_partitions')), 6)
  t.ok((await b.metric('log_sink_partitions')) > 0)

  await a.end('SIGKILL')
  await sleep(500)
  a = await startSink(t, sinkEnv('a'))
  await until('both collect again', async () => (await a.metric('log_sink_partitions')) > 0, 30_000)
  await untilItShares('the first one writes again', async () => (await a.metric('log_sink_written_total')) > 0)

  // Frozen in the middle of whatever it does, for longer than the group waits.
  b.signal('SIGSTOP')
  await until('the other one has all partitions', async () => (await a.metric('log_sink_partitions')) === 6, 30_000)
  await sleep(1000)
  b.signal('SIGCONT')
  await until('it is back in the group', async () => (await a.metric('log_sink_partitions')) < 6, 30_000)

  const lastOf = (output: string) => Number(output.trim().split('\n').at(-1) || 0)
  const total = () => producers.reduce((sum, each) => sum + each.to, 0)
  await until('all is written', () => producers.every((each) => lastOf(each.output()) === each.to), 60_000)
  await until('all is collected', () => collected().length >= total(), 60_000)
  await sleep(1500)
  t.equal(await a.metric('log_sink_missing_total'), 0)
  t.equal(await b.metric('log_sink_missing_total'), 0)
  t.equal(await a.end('SIGTERM'), 0)
  t.equal(await b.end('SIGTERM'), 0)
  const lines = collected()
  for (const { service, to } of producers) {
    const counts = lines.filter((line) => line.service === service).map(({ count }) => count as number)
    t.same(
      counts.toSorted((x, y) => x - y),
      Array.from({ length: to }, (_, index) => index + 1),
      `${service}: each once`
    )
  }
  t.ok(collected('a').length > 1000 && collected('b').length > 1000, 'both have done a part')
})

t.test('a sink whose folder another one has waits, and says so', async (t) => {
  const directory = temporaryFolder(t)
  const id = randomBytes(4).toString('hex')
  const env = {
    KAFKA_BROKERS: engineAddress('TEST_KAFKA_BROKERS'),
    KAFKA_LOGS_TOPIC: `logs-${id}`,
    LOG_SINK_GROUP: `sinks-${id}`,
    LOG_SPOOL_DIRECTORY: join(directory, 'spool'),
    LOG_SINK_DIRECTORY: join(directory, 'logs')
  }
  const first = await startSink(t, env)
  await until('the first sink is ready', first.isReady, 30_000)
  const second = await startSink(t, env)
  await until('the second says why it is not ready', async () =>
    (await second.ops('/readyz?verbose')).text.includes('another process has the folder sink')
  )
  await first.end('SIGKILL')
  await until('the second takes over', second.isReady, 30_000)
  t.pass('it has taken over')
})
