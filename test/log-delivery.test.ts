/** Promise 5: each line is collected once and in order, while brokers, sinks and producers are frozen and killed. */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { namesIn } from '#common/logging/spool/layout.ts'
import { until } from '#common/testing/until.ts'
import { collectedLines, startBroker, startProcess, startSink, temporaryFolder } from './support/log-stack.ts'
import { startWithinMs } from './support/product.ts'

t.setTimeout(600_000)
const each = 7000
const producers = ['producer-a', 'producer-b', 'producer-c']
// The numbers of the successor of the killed producer.
const [laterFrom, laterTo] = [100_001, 106_000]

t.test(
  'collects 20,000 lines once over a frozen and a killed broker, two killed sinks and a killed producer',
  async (t) => {
    t.setTimeout(600_000)
    const directory = temporaryFolder(t)
    const broker = await startBroker(t)
    const env = {
      KAFKA_BROKERS: broker.address,
      LOG_SPOOL_DIRECTORY: join(directory, 'spool'),
      LOG_SINK_DIRECTORY: join(directory, 'logs'),
      LOG_SINK_ROTATE_BYTES: '65536'
    }
    const produce = (service: string, from: number, to: number) =>
      startProcess(t, ['test/support/log-producer.ts', service, String(from), String(to), '350'], env)
    const lastOf = (producer: ReturnType<typeof produce>) => Number(producer.output().trim().split('\n').at(-1) || 0)

    let sink = await startSink(t, env)
    await until('the sink is ready', sink.isReady, startWithinMs)
    const running = producers.map((service) => produce(service, 1, each))
    const [victim] = running as [ReturnType<typeof produce>]
    await until('lines are collected', () => collectedLines(env.LOG_SINK_DIRECTORY).length > 500)

    broker.signal('SIGSTOP')
    await sleep(2000)
    await victim.end('SIGKILL')
    const written = lastOf(victim)
    t.ok(written > 500 && written < each, `the producer was killed behind line ${written}`)
    await sleep(1000)
    await sink.end('SIGKILL')
    sink = await startSink(t, env)
    await sleep(7000)
    broker.signal('SIGCONT')
    const frozenUntil = Date.now()
    await until(
      'collecting resumes after the freeze',
      async () => (await sink.metric('log_sink_written_total')) > 0,
      30_000
    )
    t.comment(`collecting went on ${Date.now() - frozenUntil} ms after the freeze`)

    broker.signal('SIGKILL')
    // The next process of the service ships the lines of the killed one.
    const successor = produce(producers[0] as string, laterFrom, laterTo)
    await sleep(4000)
    await sink.end('SIGKILL')
    sink = await startSink(t, env)

    const numbered = () => collectedLines(env.LOG_SINK_DIRECTORY).filter(({ event }) => event === 'numbered')
    await until('the producers have written all', () => running.slice(1).every((one) => lastOf(one) === each), 60_000)
    await until('the successor has written all', () => lastOf(successor) === laterTo, 60_000)
    const least = written + (laterTo - laterFrom + 1) + 2 * each
    await until('all lines are collected', () => numbered().length >= least, 60_000)
    // Repeated lines would have been collected by then.
    await sleep(1500)
    t.equal(await successor.end('SIGTERM'), 0)
    t.same(namesIn(join(env.LOG_SPOOL_DIRECTORY, producers[0] as string)), [], 'no buffer is left once it is shipped')
    t.equal(await sink.end('SIGTERM'), 0)

    const lines = numbered()
    t.ok(lines.length >= 20_000, `${lines.length} lines are collected`)
    const countsOf = (service: string, later: boolean) =>
      lines
        .filter((line) => line.service === service && (line.count as number) >= laterFrom === later)
        .map(({ count }) => count)
    const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
    for (const service of producers.slice(1)) {
      t.same(countsOf(service, false), range(1, each), `${service}: each line once, in order`)
    }
    const early = countsOf(producers[0] as string, false)
    t.ok(early.length >= written, 'all lines of the killed producer')
    t.same(early, range(1, early.length), 'each once, in order')
    t.same(countsOf(producers[0] as string, true), range(laterFrom, laterTo), 'all lines of the successor')
  }
)
