/** Batches go through streams while those answer; whatever becomes of one, each question has its answer by a call. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { unavailable } from '#common/errors.ts'
import { continueTrace, newTrace } from '#common/trace.ts'
import { SessionService, type StreamValidationsRequest } from '#gen/session/v1/session_pb.ts'
import { openValidationStreams } from '../validation-streams.ts'
import { gatherValidations } from '../validations.ts'

const sessionFor = (token: string) => ({ result: { case: 'session' as const, value: { userId: token } } })

/** What an instance does with a stream's batch; it ends the stream by returning nothing. */
type Answers = (request: StreamValidationsRequest) => Promise<object[] | undefined> | object[] | undefined

const everySession: Answers = ({ tokens }) => tokens.map(sessionFor)

/** An instance of session-svc that answers streams as a test says, and every call. */
function instance(answers: Answers | 'none' = everySession) {
  const seen = { batches: [] as StreamValidationsRequest[], calls: [] as string[][], streams: 0 }
  const transport = createRouterTransport((router) => {
    router.service(SessionService, {
      validateSessions({ tokens }) {
        seen.calls.push(tokens)
        return { results: tokens.map(sessionFor) }
      },
      ...(answers !== 'none' && {
        async *streamValidations(requests: AsyncIterable<StreamValidationsRequest>) {
          seen.streams += 1
          yield {}
          for await (const request of requests) {
            seen.batches.push(request)
            const results = await answers(request)
            if (results === undefined) return
            yield { results }
          }
        }
      })
    })
  })
  return { seen, transport }
}

function ask(t: Pick<Test, 'teardown'>, instances: ReturnType<typeof instance>[]) {
  const [first] = instances as [ReturnType<typeof instance>]
  const streams = openValidationStreams(
    instances.map(({ transport }) => transport),
    1
  )
  t.teardown(streams.close)
  const validate = gatherValidations(createClient(SessionService, first.transport), streams)
  return async (token: string, trace = newTrace()) => {
    const result = await validate({ token, trace, endsAt: performance.now() + 1000, isGone: () => false })
    return result.case === 'session' ? result.value.userId : result.case
  }
}

const codeOf = async (work: Promise<unknown> | undefined) =>
  work?.then(
    () => undefined,
    (error) => ConnectError.from(error).code
  )

t.test('the first question opens a stream, and the next ones go through it', async (t) => {
  const only = instance()
  const question = ask(t, [only])
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
    const question = ask(t, [only])
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
  const question = ask(t, [only])
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
  const question = ask(t, [only])
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

t.test('an answer that is too short leaves the rest unknown', async (t) => {
  const only = instance(({ tokens }) => tokens.slice(0, 1).map(sessionFor))
  const question = ask(t, [only])
  await question('first')
  await sleep(50)
  t.same(await Promise.all(['a', 'b'].map((token) => question(token))), ['a', undefined])
})

t.test('several instances share the batches, and one whose stream has ended gets none', async (t) => {
  const slowly: Answers = async ({ tokens }) => {
    await sleep(5)
    return tokens[0] === 'ends' ? undefined : tokens.map(sessionFor)
  }
  const [one, other] = [instance(slowly), instance(slowly)]
  const question = ask(t, [one, other])
  await question('first')
  await sleep(50)
  const asked = Array.from({ length: 1024 }, (_, index) => `${index}`)
  t.same(await Promise.all(asked.map((token) => question(token))), asked)
  t.same([one.seen.batches.length, other.seen.batches.length], [2, 2])
  await question('ends')
  t.same(await Promise.all(asked.map((token) => question(token))), asked)
  t.equal(one.seen.batches.length + other.seen.batches.length, 9)
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
  const streams = openValidationStreams([only.transport])
  t.teardown(streams.close)
  const batch = { tokens: ['x'], traceIds: [], trace: newTrace() }
  streams.ask(batch)
  await sleep(50)
  await Promise.all([streams.ask(batch), streams.ask(batch)])
  t.equal(most, 2)
})

t.test('nothing is opened any more when the gateway has closed', async (t) => {
  const only = instance()
  const streams = openValidationStreams([only.transport], 1)
  streams.ask({ tokens: ['x'], traceIds: [], trace: newTrace() })
  await sleep(50)
  const last = streams.ask({ tokens: ['x'], traceIds: [], trace: newTrace() })
  streams.close()
  t.equal(await last, undefined)
  await sleep(50)
  t.equal(streams.ask({ tokens: ['x'], traceIds: [], trace: newTrace() }), undefined)
  t.equal(only.seen.streams, 1)
})
