/** A gateway whose clock differs from that of Redis: rules about the age of a session use the age that session-svc reports. */

import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt'
import t, { type Test } from 'tap'
import { fieldCase } from '#common/testing-field-cases.ts'
import { InvalidReason } from '#gen/session/v1/session_pb.ts'
import { buildGateway, newSession, serveUpstreams } from './gateway.ts'

const minute = 60_000

interface Clock {
  /** How far the gateway's clock is ahead of that of Redis. */
  aheadMs: number
  ageMs: number
  windowMs: number
  /** Whether session-svc reports the age. */
  reports?: boolean
}

/** What `DELETE /delete` answers, over a call and over a stream. */
async function statuses(t: Test, { aheadMs, ageMs, windowMs, reports = true }: Clock): Promise<number[]> {
  const { token, userId, session, headers } = newSession()
  const createdAt = Date.now() - aheadMs - ageMs
  const shown = { ...session, createdAt: timestampFromMs(createdAt), lastSeenAt: timestampFromMs(createdAt + ageMs) }
  const sessions = {
    validateSession: () => ({
      result: { case: 'session' as const, value: { ...shown, ...(reports && { age: durationFromMs(ageMs) }) } }
    })
  }
  async function* streamValidations(requests: AsyncIterable<{ tokens: string[] }>) {
    yield {}
    const times = { createdAtMs: createdAt, lastSeenAtMs: createdAt + ageMs, expiresAtMs: createdAt + 1e9 }
    const valid = { sessionId: session.id, userId, ...times, ...(reports && { ageMs }) }
    for await (const { tokens } of requests) {
      const one = (each: string) => (each === token ? valid : { invalidReason: InvalidReason.NOT_FOUND })
      yield { validations: tokens.map(one) }
    }
  }
  const users = { deleteAccount: () => ({}) }
  const options = { reauthenticationWindow: windowMs }
  const remove = { method: 'DELETE', url: '/delete', headers } as const
  const { app } = await buildGateway(t, { users, sessions, options })
  const { parts } = await serveUpstreams(t, { users, sessions: { streamValidations } })
  const { app: streaming } = await buildGateway(t, { options, parts })
  // Until a stream is open, a validation is a call, which this session-svc does not answer.
  let streamed = 501
  while (streamed >= 500) streamed = (await streaming.inject(remove)).statusCode
  return [(await app.inject(remove)).statusCode, streamed]
}

fieldCase(t, 11, 'a fresh session deletes its account although the clock of the gateway is ahead', async (t) => {
  t.same(await statuses(t, { aheadMs: 16 * minute, ageMs: 1000, windowMs: 15 * minute }), [204, 204])
  t.same(await statuses(t, { aheadMs: 16 * minute, ageMs: 0, windowMs: 15 * minute }), [204, 204], 'of age 0')
})

fieldCase(t, 11, 'an old session is 403 although the clock of the gateway is behind', async (t) => {
  t.same(await statuses(t, { aheadMs: -60 * minute, ageMs: 6000, windowMs: 5000 }), [403, 403])
})

fieldCase(t, 11, 'beside a session-svc that reports no age, the uses that it reports bound the age', async (t) => {
  const reports = false
  t.same(await statuses(t, { aheadMs: 0, ageMs: 1000, windowMs: 5000, reports }), [204, 204])
  t.same(await statuses(t, { aheadMs: 0, ageMs: 6000, windowMs: 5000, reports }), [403, 403])
  t.same(await statuses(t, { aheadMs: -60 * minute, ageMs: 6000, windowMs: 5000, reports }), [403, 403])
})
