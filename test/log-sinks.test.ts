/** Several sinks share the partitions; each line is in the files of one of them, while sinks join, leave, are killed or frozen. */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { collectedLines, startProcess, startSink, temporaryFolder } from './support/log-stack.ts'
import { startWithinMs } from './support/product.ts'

t.setTimeout(600_000)

t.test(
  'each line is collected once by two sinks, one killed, the other frozen until the group expels it',
  async (t) => {
    t.setTimeout(600_000)
    const directory = temporaryFolder(t)
    const id = randomBytes(4).toString('hex')
    const env = {
      KAFKA_BROKERS: engineAddress('TEST_KAFKA_BROKERS'),
      KAFKA_LOGS_TOPIC: `logs-${id}`,
      LOG_SINK_GROUP: `sinks-${id}`,
      LOG_SPOOL_DIRECTORY: join(directory, 'spool')
    }
    // Without a shared disk: the state of the other sink comes with its commits.
    const sinkEnv = (name: string) => ({
      ...env,
      LOG_SINK_NAME: name,
      LOG_SINK_DIRECTORY: join(directory, 'logs', name),
      // The lines of the sinks themselves would be collected, too.
      LOG_LEVEL: 'silent'
    })
    // One in each partition, so that each owner has lines.
    const partitions = 6
    const producers = Array.from({ length: partitions }, (_, partition) => {
      const service = `producer-${partition}`
      const args = ['test/support/log-producer.ts', service, '1', '1000000', '350', String(partition)]
      return { service, ...startProcess(t, args, env) }
    })
    const collected = (name = '') =>
      collectedLines(join(directory, 'logs', name)).filter(({ event }) => event === 'numbered')

    let a = await startSink(t, sinkEnv('a'))
    await until('the first sink is ready', a.isReady, startWithinMs)
    await until('the first sink collects', () => collected('a').length > 1000)
    const b = await startSink(t, sinkEnv('b'))
    await until('the second sink collects, too', () => collected('b').length > 1000, 30_000)
    t.equal(await a.metric('log_sink_partitions'), 3)
    t.equal(await b.metric('log_sink_partitions'), 3)

    await a.end('SIGKILL')
    await sleep(500)
    a = await startSink(t, sinkEnv('a'))
    await until('both collect again', async () => (await a.metric('log_sink_partitions')) > 0, 30_000)
    await until('the first one writes again', async () => (await a.metric('log_sink_written_total')) > 0, 30_000)

    // Frozen at any point, for longer than the session timeout.
    b.signal('SIGSTOP')
    await until(
      'the other one has all partitions',
      async () => (await a.metric('log_sink_partitions')) === partitions,
      30_000
    )
    await sleep(1000)
    b.signal('SIGCONT')
    await until(
      'the second sink is a member again',
      async () => (await a.metric('log_sink_partitions')) < partitions,
      30_000
    )
    const writtenByB = await b.metric('log_sink_written_total')
    await until(
      'the second sink writes again',
      async () => (await b.metric('log_sink_written_total')) > writtenByB,
      30_000
    )

    const share = 12_000
    await until('both sinks have collected', () => ['a', 'b'].every((name) => collected(name).length > share), 60_000)

    for (const { end } of producers) await end('SIGTERM')
    const written = producers.map(({ service, output }) => ({
      service,
      to: Number(output().trim().split('\n').at(-1))
    }))
    const countsOf = (service: string, lines: { service: string; count?: number }[]) =>
      lines.flatMap((line) => (line.service === service ? [Number(line.count)] : [])).sort((x, y) => x - y)
    const isThereOnce = (counts: number[], to: number) =>
      counts.length === to && counts.every((count, index) => count === index + 1)
    // Uncommitted lines are in two files until their sink recovers, so the number of lines is no sign of the end.
    const isAllThereOnce = () => {
      const lines = collected()
      return written.every(({ service, to }) => isThereOnce(countsOf(service, lines), to))
    }
    await until('each line is collected once', isAllThereOnce, 60_000).catch(({ message }) => t.comment(message))
    t.equal(await a.metric('log_sink_missing_total'), 0)
    t.equal(await b.metric('log_sink_missing_total'), 0)
    t.equal(await a.end('SIGTERM'), 0)
    t.equal(await b.end('SIGTERM'), 0)
    const lines = collected()
    for (const { service, to } of written) {
      t.same(
        countsOf(service, lines),
        Array.from({ length: to }, (_, index) => index + 1),
        `${service}: each once`
      )
    }
  }
)

t.test('a second sink with the same folder is not ready, and takes over after the first', async (t) => {
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
  await until('the first sink is ready', first.isReady, startWithinMs)
  const second = await startSink(t, env)
  await until('readiness of the second sink names the cause', async () =>
    (await second.ops('/readyz?verbose')).text.includes('another process owns the folder sink')
  )
  await first.end('SIGKILL')
  await until('the second sink is ready', second.isReady, 30_000)
  t.pass('the second sink took over')
})
