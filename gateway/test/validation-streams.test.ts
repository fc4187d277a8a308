/** Batches go through streams while those answer; whatever becomes of one, each question has its answer by a call. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, createClient, createRouterTransport, type ServiceImpl } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { unavailable } from '#common/errors.ts'
import { rpcClientMetrics } from '#common/metrics.ts'
import { createRpcTransport } from '#common/rpc-client.ts'
import { testRpc } from '#common/testing.ts'
import { continueTrace, newTrace } from '#common/trace.ts'
import {
  InvalidReason,
  SessionService,
  type StreamValidationsRequest,
  type ValidationSchema
} from '#gen/session/v1/session_pb.ts'
import { openValidationStreams } from '../validation-streams.ts'
import { gatherValidations } from '../validations.ts'
import { serveUpstreams } from './gateway.ts'

const sessionFor = (token: string) => {
  return { sessionId: 'x', userId: token, createdAtMs: 1, lastSeenAtMs: 2, expiresAtMs: 3 }
}
const calledSessionFor = (token: string) => {
  const times = { createdAt: timestampFromMs(1), lastSeenAt: timestampFromMs(2), expiresAt: timestampFromMs(3) }
  return { result: { case: 'session' as const, value: { id: 'x', userId: token, ...times } } }
}

/** What an instance does with a stream's batch; it ends the stream by returning nothing. */
type Validations = MessageInitShape<typeof ValidationSchema>[] | undefined
type Answers = (request: StreamValidationsRequest) => Promise<Validations> | Validations

const everySession: Answers = ({ tokens }) => tokens.map(sessionFor)

/** An instance of session-svc that answers streams as a test says, and every call. */
function instance(answers: Answers | 'none' = everySession) {
  const seen = { batches: [] as StreamValidationsRequest[], calls: [] as string[][], streams: 0 }
  const transport = createRouterTransport((router) => {
    router.service(SessionService, {
      validateSessions({ tokens }) {
        seen.calls.push(tokens)
        return { results: tokens.map(calledSessionFor) }
      },
      ...(answers !== 'none' && {
        async *streamValidations(requests: AsyncIterable<StreamValidationsRequest>) {
          seen.streams += 1
          yield {}
          for await (const request of requests) {
            seen.batches.push(request)
            const validations = await answers(request)
            if (validations === undefined) return
            yield { validations }
          }
        }
      })
    })
  })
  return { seen, transport }
}

const silentMs = 600

function ask(t: Pick<Test, 'teardown'>, instances: ReturnType<typeof instance>[], count?: number) {
  const [first] = instances as [ReturnType<typeof instance>]
  const streams = openValidationStreams(
    instances.map(({ transport }) => transport),
    silentMs,
    count
  )
  t.teardown(streams.close)
  const validate = gatherValidations(createClient(SessionService, first.transport), streams)
  return async (token: string, trace = newTrace()) => {
    const validation = await validate({ token, trace, endsAt: performance.now() + 1000, isGone: () => false })
    return typeof validation === 'object' ? validation.userId : validation
  }
}

const codeOf = async (work: Promise<unknown> | undefined) =>
  work?.then(
    () => undefined,
    (error) => ConnectError.from(error).code
  )

t.test('the first question opens a stream, and the next ones go through it', async (t) => {
  const only = instance()
  const question = ask(t, [only], 1)
  t.equal(await question('first'), 'first')
  await sleep(50)
  const trace = newTrace()
  t.equal(await question('alone', trace), 'alone')
  t.equal(continueTrace(only.seen.batches[0]?.traceparent).traceId, trace.traceId)
  t.same(only.seen.batches[0]?.traceIds, [])
  const traces = Array.from({ length: 300 }, newTrace)
  const many = await Promise.all(traces.map((each, index) => question(`${index}`, each)))
  t.same(
    many,
    traces.map((_, index) => `${index}`)
  )
  const batches = only.seen.batches.slice(1)
  t.same(
    batches.flatMap(({ traceIds }) => traceIds),
    traces.map(({ traceId }) => traceId)
  )
  t.ok(batches.every(({ tokens }) => tokens.length <= 256))
  t.same(only.seen.calls, [['first']])
  t.equal(only.seen.streams, 1)
})

t.test(
  'what a stream has not answered when it ends is asked by a call, and a while later there is another stream',
  async (t) => {
    const only = instance(({ tokens }) => (tokens[0] === 'ends' ? undefined : tokens.map(sessionFor)))
    const question = ask(t, [only], 1)
    await question('first')
    await sleep(50)
    t.equal(await question('ends'), 'ends')
    t.equal(await question('soon'), 'soon')
    t.same(only.seen.calls, [['first'], ['ends'], ['soon']])
    await sleep(1100)
    await question('opens')
    await sleep(50)
    t.equal(await question('streamed'), 'streamed')
    t.equal(only.seen.streams, 2)
    t.same(only.seen.calls.at(-1), ['opens'])
  }
)

t.test('a stream that falls silent is left before the time of its questions is over', async (t) => {
  const only = instance(async ({ tokens }) => {
    if (tokens.includes('hangs')) await sleep(3000)
    return tokens.map(sessionFor)
  })
  const question = ask(t, [only], 1)
  await question('first')
  await sleep(50)
  const startedAt = performance.now()
  t.equal(await question('hangs'), 'hangs')
  t.ok(performance.now() - startedAt < 900)
  await sleep(1100)
  t.equal(await question('later'), 'later')
  t.equal(only.seen.streams, 1, 'another one might be silent, too')
})

t.test('what session-svc says of a batch is passed on, and what it has not looked at is asked by a call', async (t) => {
  const only = instance(({ tokens }) => {
    if (tokens[0] === 'away') throw unavailable('Redis is away.')
    return tokens.map(sessionFor)
  })
  const question = ask(t, [only], 1)
  await question('first')
  await sleep(50)
  const away = question('away')
  const other = sleep(0).then(() => question('other'))
  t.equal(await codeOf(away), Code.Unavailable)
  t.equal(await other, 'other')
  t.notOk(only.seen.calls.flat().includes('away'))
})

t.test('an instance that knows no streams is asked by calls', async (t) => {
  const old = instance('none')
  const question = ask(t, [old])
  for (const token of ['a', 'b', 'c']) t.equal(await question(token), token)
  t.same(old.seen.calls, [['a'], ['b'], ['c']])
})

t.test('an answer that is too short or too long counts for nothing', async (t) => {
  const lengths = [1, 3]
  const only = instance(() => Array.from({ length: lengths.shift() ?? 0 }, () => sessionFor('of somebody')))
  const question = ask(t, [only], 1)
  await question('first')
  await sleep(50)
  for (const tokens of [
    ['a', 'b'],
    ['c', 'd']
  ]) {
    t.same(await Promise.all(tokens.map((token) => question(token))), tokens)
    t.same(only.seen.calls.at(-1), tokens)
  }
  t.equal(only.seen.batches.length, 2)
})

t.test('a session that lacks a part is none, nor is it said that there is none', async (t) => {
  const lacking: Record<string, NonNullable<Validations>[number]> = {
    everything: {},
    id: { ...sessionFor('x'), sessionId: '' },
    user: { ...sessionFor('x'), userId: '' },
    'time of creation': { ...sessionFor('x'), createdAtMs: 0 },
    'time of use': { ...sessionFor('x'), lastSeenAtMs: Number.NaN },
    end: { ...sessionFor('x'), expiresAtMs: 8.65e15 },
    whole: { ...sessionFor('x'), expiresAtMs: 1.5 }
  }
  const only = instance(({ tokens }) =>
    tokens.map((token) => lacking[token] ?? { ...sessionFor('x'), invalidReason: InvalidReason.REVOKED })
  )
  const question = ask(t, [only], 1)
  await question('first')
  await sleep(50)
  for (const token of Object.keys(lacking)) t.equal(await question(token), undefined, token)
  t.equal(await question('revoked'), 'invalid')
})

t.test('several instances share the batches, and a stream that has ended gets none', async (t) => {
  const slowly: Answers = async ({ tokens }) => {
    await sleep(5)
    return tokens[0] === 'ends' ? undefined : tokens.map(sessionFor)
  }
  const instances = [instance(slowly), instance(slowly), instance(slowly)]
  const question = ask(t, instances)
  const counts = () => instances.map(({ seen }) => seen.batches.length)
  await question('first')
  await sleep(50)
  for (let count = 0; count < 30; count += 1) await question(`${count}`)
  t.same(counts(), [10, 10, 10], 'in turn')
  const asked = Array.from({ length: 256 * 12 }, (_, index) => `${index}`)
  t.same(await Promise.all(asked.map((token) => question(token))), asked)
  t.same(counts(), [14, 14, 14], 'and when there is much to do')
  await question('ends')
  t.same(await Promise.all(asked.map((token) => question(token))), asked)
  t.equal(
    counts().reduce((sum, count) => sum + count),
    3 * 14 + 1 + 12
  )
})

t.test('two batches at once go through two streams', async (t) => {
  let underWay = 0
  let most = 0
  const only = instance(async ({ tokens }) => {
    underWay += 1
    most = Math.max(most, underWay)
    await sleep(20)
    underWay -= 1
    return tokens.map(sessionFor)
  })
  const streams = openValidationStreams([only.transport], silentMs)
  t.teardown(streams.close)
  const batch = { tokens: ['x'], traceIds: [], trace: newTrace() }
  streams.ask(batch)
  await sleep(50)
  await Promise.all([streams.ask(batch), streams.ask(batch)])
  t.equal(most, 2)
})

t.test('what a stream leaves unanswered is counted as what it is, and never as an error of the client', async (t) => {
  const sessions: Partial<ServiceImpl<typeof SessionService>> = {
    async *streamValidations(requests) {
      yield {}
      for await (const _ of requests) await new Promise(() => {})
    }
  }
  const { server, port } = await serveUpstreams(t, { sessions })
  const connections = new Set<{ destroy(): void }>()
  server.server.on('session', (session) => connections.add(session.socket))
  const registry = new Registry()
  const upstream = { name: 'session-svc', urls: [`http://127.0.0.1:${port}`], rpc: testRpc }
  const streams = openValidationStreams([createRpcTransport(upstream, rpcClientMetrics(registry))], 300, 1)
  t.teardown(streams.close)
  const batch = { tokens: ['x'], traceIds: [], trace: newTrace() }
  const counted = async (code: string, registry: Registry) =>
    (await registry.metrics()).includes(`grpc_method="StreamValidations",grpc_code="${code}"} 1`)
  streams.ask(batch)
  await sleep(200)
  t.equal(await streams.ask(batch), undefined, 'it is silent')
  t.ok(await counted('deadline_exceeded', registry))

  const other = new Registry()
  const others = openValidationStreams([createRpcTransport(upstream, rpcClientMetrics(other))], 5000, 1)
  t.teardown(others.close)
  others.ask(batch)
  await sleep(200)
  const broken = others.ask(batch)
  await sleep(50)
  for (const socket of connections) socket.destroy()
  t.equal(await broken, undefined, 'it is broken')
  t.notOk(await counted('canceled', other))
})

t.test('nothing is opened any more when the gateway has closed', async (t) => {
  const only = instance()
  const streams = openValidationStreams([only.transport], silentMs, 1)
  streams.ask({ tokens: ['x'], traceIds: [], trace: newTrace() })
  await sleep(50)
  const last = streams.ask({ tokens: ['x'], traceIds: [], trace: newTrace() })
  streams.close()
  t.equal(await last, undefined)
  await sleep(50)
  t.equal(streams.ask({ tokens: ['x'], traceIds: [], trace: newTrace() }), undefined)
  t.equal(only.seen.streams, 1)
})
