/** A clock of the gateway that differs from the clock of Redis: the age of a session is the age that session-svc reports. */

import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt'
import t, { type Test } from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { buildGateway, newSession } from './gateway.ts'
import { asOlderServer } from './validate-each.ts'

const minute = 60_000

interface Clock {
  /** The gateway's clock minus the clock of Redis. */
  aheadMs: number
  ageMs: number
  windowMs: number
  /** Whether session-svc reports the age. */
  reports?: boolean
}

/** The statuses of `DELETE /delete` with a session-svc of this version and with an older one. */
async function statuses(t: Test, { aheadMs, ageMs, windowMs, reports = true }: Clock): Promise<number[]> {
  const { session, headers } = newSession()
  const createdAt = Date.now() - aheadMs - ageMs
  const shown = { ...session, createdAt: timestampFromMs(createdAt), lastSeenAt: timestampFromMs(createdAt + ageMs) }
  const sessions = {
    validateSession: () => ({
      result: { case: 'session' as const, value: { ...shown, ...(reports && { age: durationFromMs(ageMs) }) } }
    })
  }
  const users = { deleteAccount: () => ({}) }
  const options = { reauthenticationWindow: windowMs }
  const remove = { method: 'DELETE', url: '/delete', headers } as const
  const found: number[] = []
  for (const each of [sessions, asOlderServer(sessions)]) {
    const { app } = await buildGateway(t, { users, sessions: each, options })
    found.push((await app.inject(remove)).statusCode)
  }
  return found
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
