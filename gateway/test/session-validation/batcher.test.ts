/** Questions go in calls for many, and each is answered, fails and ends for itself. */

import { mock } from 'node:test'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { type Client, Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { newTrace, traceparent } from '#common/ops/trace.ts'
import {
  InvalidReason,
  SessionService,
  type ValidateSessionsRequest,
  ValidateSessionsResponseSchema,
  type ValidationSchema
} from '#gen/session/v1/session_pb.ts'
import { createValidationBatcher, type ValidationRequest } from '../../session-validation/batcher.ts'
import type { ValidationOutcome } from '../../session-validation/outcome.ts'

type Answers = (request: ValidateSessionsRequest) => Flat[] | Promise<Flat[]>
type Flat = MessageInitShape<typeof ValidationSchema>

const flatSession = { sessionId: 'x', createdAtMs: 1, lastSeenAtMs: 1, expiresAtMs: 1 }
const sessionFor = (userId: string) => ({ ...flatSession, userId })
const userIdOf = (each: ValidationOutcome) => (typeof each === 'object' ? each.userId : each)
const everySession: Answers = ({ tokens }) => tokens.map(sessionFor)

/** A gateway's questions to a session-svc that answers as the test says. */
function ask(answers: Answers) {
  const calls: { request: ValidateSessionsRequest; traceparent: string | null }[] = []
  const transport = createRouterTransport((router) => {
    router.service(SessionService, {
      async validateSessions(request, context) {
        calls.push({ request, traceparent: context.requestHeader.get('traceparent') })
        return { validations: await answers(request) }
      }
    })
  })
  const validate = createValidationBatcher(createClient(SessionService, transport))
  const question = (token: string, more: Partial<ValidationRequest> = {}) =>
    validate({ token, trace: newTrace(), endsAt: performance.now() + 2000, isAborted: () => false, ...more })
  return { question, calls }
}

const codeOf = async (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error) => ConnectError.from(error).code
  )

t.test('few tokens of one turn go in one call, each with the trace of its request', async (t) => {
  const { question, calls } = ask(everySession)
  const traces = Array.from({ length: 16 }, newTrace)
  const results = await Promise.all(traces.map((trace, index) => question(`token-${index}`, { trace })))
  t.equal(calls.length, 1)
  t.same(
    results.map(userIdOf),
    traces.map((_, index) => `token-${index}`)
  )
  t.same(
    calls[0]?.request.traceIds,
    traces.map(({ traceId }) => traceId)
  )
})

/** A gateway's questions; the test says when a batch is answered: with each token as its own user. */
function askByHand(onBatch = () => {}) {
  const batches: { tokens: string[]; answer(): void }[] = []
  const validateSessions: Client<typeof SessionService>['validateSessions'] = ({ tokens = [] }) =>
    new Promise((resolve) => {
      const validations = tokens.map((userId) => ({ ...flatSession, userId }))
      batches.push({ tokens, answer: () => resolve(create(ValidateSessionsResponseSchema, { validations })) })
      onBatch()
    })
  const validate = createValidationBatcher({ validateSessions })
  const question = (token: string) =>
    validate({ token, trace: newTrace(), endsAt: performance.now() + 2000, isAborted: () => false })
  return { question, batches }
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await nextTurn()
}

t.test('at more than one question a millisecond, a small batch waits a millisecond for others', async (t) => {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  const { question, batches } = askByHand()
  const early = Array.from({ length: 20 }, (_, index) => {
    now += 0.6
    return question(`${index}`)
  })
  await turns(2)
  batches[0]?.answer()
  await Promise.all(early)
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const first = question('first')
  await turns(3)
  const second = question('second')
  await turns(3)
  t.equal(batches.length, 1, 'they wait')
  mock.timers.tick(1)
  t.same(batches[1]?.tokens, ['first', 'second'])
  batches[1]?.answer()
  await Promise.all([first, second])

  const many = Array.from({ length: 8 }, (_, index) => question(`${index}`))
  await turns(2)
  t.equal(batches[2]?.tokens.length, 8, 'a larger batch does not wait')
  batches[2]?.answer()
  await Promise.all(many)
  now += 1000
  const late = [question('after a pause')]
  now += 1000
  late.push(question('and another'))
  await turns(2)
  t.equal(batches.length, 4, 'at a low rate none waits')
  batches[3]?.answer()
  await Promise.all(late)
})

t.test('however many wait, answers are given before more than two batches of them are kept', async (t) => {
  let answered = 0
  let most = 0
  const { question, batches } = askByHand(() => {
    setImmediate(() => batches.at(-1)?.answer())
    most = Math.max(most, batches.length * 256 - answered)
  })
  const results = Array.from({ length: 8000 }, async (_, index) => {
    await question(`${index}`)
    answered += 1
  })
  await Promise.all(results)
  t.ok(most <= 4 * 256, `${most} were asked for and not answered`)
})

t.test('a question that is alone waits for no other, and its call names no traces', async (t) => {
  const { question, calls } = ask(everySession)
  const trace = newTrace()
  const startedAt = performance.now()
  t.match(await question('alone', { trace }), { userId: 'alone' })
  t.ok(performance.now() - startedAt < 500)
  t.same(calls[0]?.request.traceIds, [])
  t.ok(traceparent(trace))
})

t.test('batches and calls under way are bounded', async (t) => {
  let underWay = 0
  let most = 0
  const { question, calls } = ask(async (request) => {
    underWay += 1
    most = Math.max(most, underWay)
    await sleep(20)
    underWay -= 1
    return everySession(request)
  })
  const results = await Promise.all(Array.from({ length: 2000 }, (_, index) => question(`${index}`)))
  t.ok(results.every((each, index) => userIdOf(each) === `${index}`))
  t.ok(calls.every(({ request }) => request.tokens.length <= 256))
  t.ok(most <= 2, `${most} at once`)
})

t.test('what nobody knows of one token says nothing of its neighbours', async (t) => {
  const { question } = ask(({ tokens }) => tokens.map((token) => (token === 'bad' ? {} : sessionFor(token))))
  const [first, bad, last] = await Promise.all(['first', 'bad', 'last'].map((token) => question(token)))
  t.same([first, bad, last].map(userIdOf), ['first', undefined, 'last'])
})

t.test('a reply that is too short leaves the rest unknown', async (t) => {
  const { question } = ask(({ tokens }) => tokens.slice(0, 1).map(sessionFor))
  const [first, second] = await Promise.all(['first', 'second'].map((token) => question(token)))
  t.same([first, second].map(userIdOf), ['first', undefined])
})

t.test('an older session-svc answers in the other form', async (t) => {
  const time = timestampFromMs(1)
  const times = { createdAt: time, lastSeenAt: time, expiresAt: time }
  const transport = createRouterTransport((router) => {
    router.service(SessionService, {
      validateSessions: ({ tokens }) => ({
        results: tokens.map((userId) => ({ result: { case: 'session', value: { id: 'x', userId, ...times } } }))
      })
    })
  })
  const validate = createValidationBatcher(createClient(SessionService, transport))
  const question = { token: 'old', trace: newTrace(), endsAt: performance.now() + 2000, isAborted: () => false }
  t.same(await validate(question), {
    id: 'x',
    userId: 'old',
    createdAt: 1,
    lastSeenAt: 1,
    expiresAt: 1,
    age: undefined
  })
})

t.test('a session that lacks a part is none, nor is it said that there is none', async (t) => {
  const lacking: Record<string, Flat> = {
    everything: {},
    id: { ...sessionFor('x'), sessionId: '' },
    user: { ...sessionFor('x'), userId: '' },
    'time of creation': { ...sessionFor('x'), createdAtMs: 0 },
    'time of use': { ...sessionFor('x'), lastSeenAtMs: Number.NaN },
    end: { ...sessionFor('x'), expiresAtMs: 8.65e15 },
    whole: { ...sessionFor('x'), expiresAtMs: 1.5 }
  }
  const { question } = ask(({ tokens }) =>
    tokens.map((token) => lacking[token] ?? { ...sessionFor('x'), invalidReason: InvalidReason.REVOKED })
  )
  for (const token of Object.keys(lacking)) t.equal(await question(token), undefined, token)
  t.equal(await question('revoked'), 'invalid')
})

t.test('a call that fails fails its own questions, with what it failed with', async (t) => {
  let failing = true
  const { question } = ask((request) => {
    if (failing) throw unavailable('down')
    return everySession(request)
  })
  t.equal(await codeOf(question('x')), Code.Unavailable)
  failing = false
  t.match(await question('x'), { userId: 'x' })
})

t.test('each question ends at its own deadline', async (t) => {
  const { question, calls } = ask(async (request) => {
    await sleep(300)
    return everySession(request)
  })
  const short = question('short', { endsAt: performance.now() + 60 })
  const long = question('long')
  const startedAt = performance.now()
  t.equal(await codeOf(short), Code.DeadlineExceeded)
  t.ok(performance.now() - startedAt < 250, 'while its call is still under way')
  t.match(await long, { userId: 'long' })
  t.equal(calls.length, 1)
})

t.test('nobody asks for a client that has gone away, nor when the time is over', async (t) => {
  const { question, calls } = ask(everySession)
  const gone = question('gone', { isAborted: () => true })
  const late = question('late', { endsAt: performance.now() - 1 })
  const here = question('here')
  t.equal(await codeOf(gone), Code.Canceled)
  t.equal(await codeOf(late), Code.DeadlineExceeded)
  t.match(await here, { userId: 'here' })
  t.same(
    calls.map(({ request }) => request.tokens),
    [['here']]
  )
})

t.test('when very many wait already, one more is refused at once', async (t) => {
  const { question } = ask(() => new Promise(() => {}))
  const many = Array.from({ length: 10_600 }, () => codeOf(question('x', { endsAt: performance.now() + 300 })))
  t.equal(await codeOf(question('x')), Code.Unavailable)
  const codes = await Promise.all(many)
  t.ok(codes.filter((code) => code === Code.DeadlineExceeded).length >= 10_000)
})
