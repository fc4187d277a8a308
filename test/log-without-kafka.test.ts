/** Promise 6: without Kafka every route answers as with Kafka, and the lines wait in the disk buffer. */

import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { collectedLines, startSink } from './support/log-stack.ts'
import { createProduct, longBudgets, newAddress, password, startWithinMs } from './support/product.ts'

t.setTimeout(600_000)
const rounds = 60
const id = randomBytes(4).toString('hex')
const withKafka = {
  ...longBudgets,
  LOG_STDOUT: 'trace',
  KAFKA_BROKERS: engineAddress('TEST_KAFKA_BROKERS'),
  KAFKA_LOGS_TOPIC: `logs-${id}`,
  LOG_SINK_GROUP: id
}
// No process listens on this port.
const without = { ...withKafka, KAFKA_BROKERS: '127.0.0.1:1' }

type Product = Awaited<ReturnType<typeof createProduct>>

/** Calls every route once. @returns the answers, their times and the traces */
async function useAll({ call }: Product) {
  const email = newAddress()
  const answers: string[] = []
  const times: number[] = []
  const traces: string[] = []
  async function use(...args: Parameters<typeof call>) {
    const startedAt = performance.now()
    const answer = await call(...args)
    times.push(performance.now() - startedAt)
    answers.push(`${args[0]} ${args[1]} ${answer.status}`)
    traces.push(answer.headers.get('x-request-id') ?? '')
    return answer.body
  }
  const { session } = await use('POST', '/reg', { json: { email, password } })
  await use('POST', '/reg', { json: { email, password } })
  await use('POST', '/auth', { json: { email, password: 'wrong password' } })
  const second = await use('POST', '/auth', { json: { email, password } })
  await use('GET', '/session', { token: session.token })
  await use('DELETE', '/logout', { token: session.token })
  await use('GET', '/session', { token: session.token })
  await use('DELETE', '/delete', { token: second.session.token })
  return { answers, times, traces }
}

const p99 = (times: number[]) => times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0

/** All lines in the spools below a folder. */
function spooled(folder: string): string {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(({ name }) =>
    name.endsWith('.ndjson')
  )
  return files.map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'utf8')).join('')
}

t.test('every route answers as with Kafka, and every request is in the buffer', async (t) => {
  t.setTimeout(600_000)
  const [kafka, none] = await Promise.all([createProduct(t, withKafka), createProduct(t, without)])
  await kafka.startAll('log-sink')
  await none.startAll()
  const times = { kafka: [] as number[], none: [] as number[] }
  const traces: string[] = []
  for (let round = 0; round < rounds; round += 1) {
    const expected = await useAll(kafka)
    const actual = await useAll(none)
    if (round === 0) t.same(actual.answers, expected.answers)
    else if (actual.answers.join() !== expected.answers.join()) t.same(actual.answers, expected.answers)
    times.kafka.push(...expected.times)
    times.none.push(...actual.times)
    traces.push(...actual.traces)
  }
  const [withoutMs, withMs] = [p99(times.none), p99(times.kafka)]
  t.comment(`p99 over all routes: ${withoutMs.toFixed(1)} ms without Kafka, ${withMs.toFixed(1)} ms with it`)
  // A request that waited for Kafka would take at least its connection timeout of 2 s longer.
  t.ok(withoutMs < withMs + 1500, 'no request waits for Kafka')

  for (const name of ['gateway', 'user-svc', 'session-svc'] as const) {
    t.ok(await none.isReady(name), `${name} is ready`)
    await until(`${name} reports that Kafka is down`, async () =>
      (await (await none.ops(name, '/readyz?verbose')).text()).includes('[-] kafka: no broker is reachable')
    )
    const metrics = await (await none.ops(name, '/metrics')).text()
    t.match(metrics, /^log_spool_bytes [1-9]/m)
    t.match(metrics, /^log_shipped_total 0$/m)
    t.match(metrics, /^log_dropped_total\{reason="spool_full"\} 0$/m)
  }
  const spool = join(none.dataDir, 'spool')
  const lines = spooled(spool).split('\n').slice(0, -1)
  const inGateway = new Set(
    lines
      .map((line) => JSON.parse(line))
      .filter(({ service }) => service === 'gateway')
      .map(({ traceId }) => traceId)
  )
  t.same(
    traces.filter((trace) => !inGateway.has(trace)),
    [],
    'each request has its line'
  )

  for (const name of ['gateway', 'user-svc', 'session-svc'] as const) {
    const startedAt = performance.now()
    t.equal(await none.stop(name), 0, `${name} stops`)
    t.ok(performance.now() - startedAt < 5000, 'without waiting for Kafka')
  }
  const left = spooled(spool).split('\n').slice(0, -1)
  t.ok(left.length >= lines.length, 'the lines stay on the disk')

  // The next start is with Kafka.
  Object.assign(none.env, { ...withKafka, KAFKA_LOGS_TOPIC: `later-${id}` })
  const sink = await startSink(t, { ...none.env, LOG_SINK_NAME: 'later', LOG_SINK_GROUP: `later-${id}` })
  await until('the sink is ready', sink.isReady, startWithinMs)
  await none.startAll()
  const collected = () => collectedLines(join(none.dataDir, 'logs', 'later'))
  await until(
    'all of them are collected',
    () => {
      const found = new Set(collected().map((line) => JSON.stringify(line)))
      return left.every((line) => found.has(line))
    },
    30_000
  )
  const texts = collected().map((line) => JSON.stringify(line))
  t.equal(new Set(texts).size, texts.length, 'each once')
})
