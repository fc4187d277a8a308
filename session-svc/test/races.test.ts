/** Sessions under concurrency: no creation survives a revocation that it races, no use revives a session that has ended. */

import { Code, ConnectError } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { until } from '#common/testing/until.ts'
import { agentsKey } from '../user-agents.ts'
import { createAged, hashOf, sessionsKey, storedValue } from './aged-session.ts'
import { newUser, rules, startSessionSvc } from './service.ts'

const service = await startSessionSvc(t)
const { client, store } = service
const rounds = 20

/** Validates tokens; on a busy machine, an attempt can be late. @returns `session` or `invalid` for each */
async function validate(tokens: string[]) {
  let outcomes: (string | undefined)[] = []
  await until('the outcome of every token is known', async () => {
    const response = await client.validateSessions({ tokens }).catch(() => undefined)
    outcomes = response?.results.map(({ result }) => result.case) ?? []
    return outcomes.length === tokens.length && outcomes.every((outcome) => outcome !== undefined)
  })
  return outcomes
}

/** Creates sessions before and after a revocation, without awaiting any. @returns the created ones */
async function createDuring(userId: string, epochs: bigint[], revocation: { epoch?: bigint }) {
  const create = (epoch: bigint) =>
    client.createSession({ userId, epoch }).catch((error) => {
      if (ConnectError.from(error).code !== Code.FailedPrecondition) throw error
      return undefined
    })
  const before = epochs.map(create)
  const revoked = client.deleteUserSessions({ userId, ...revocation })
  const after = epochs.map(create)
  await revoked
  const created = (await Promise.all([...before, ...after])).filter((each) => each !== undefined)
  return created.map(({ token }) => token)
}

/** Asserts that no session survives its revocation, and that creations came before and after it. */
async function raceRevocation(t: Test, epochs: bigint[], revocation: { epoch?: bigint }): Promise<void> {
  let created = 0
  for (let round = 0; round < rounds; round += 1) {
    const tokens = await createDuring(newUser(), epochs, revocation)
    const survivors = (await validate(tokens)).filter((outcome) => outcome !== 'invalid')
    t.same(survivors, [], `round ${round}: ${tokens.length} of ${2 * epochs.length} were created`)
    created += tokens.length
  }
  const all = 2 * epochs.length * rounds
  t.ok(created > 0 && created < all, `${created} of ${all} creations came before the revocation`)
}

t.test('creations that race a revocation have no valid session of the old epoch afterwards', async (t) => {
  await raceRevocation(t, new Array(10).fill(0n), { epoch: 1n })
})

t.test('creations of any epoch that race a revocation of all sessions have no valid session afterwards', async (t) => {
  const epochs = Array.from({ length: 10 }, (_, epoch) => BigInt(epoch))
  await raceRevocation(t, epochs, {})
})

t.test('uses that race the end of a session do not revive it', async (t) => {
  let valid = 0
  for (let round = 0; round < rounds; round += 1) {
    // After a tenth of the idle timeout, a valid use is written.
    const age = { createdMs: rules.idleTimeout / 2, usedMs: rules.idleTimeout / 2 }
    const token = await createAged(service, newUser(), age)
    const use = () =>
      client.validateSession({ token }).then(
        ({ result }) => result.case,
        () => undefined
      )
    const before = Array.from({ length: 10 }, use)
    const ended = client.deleteSession({ target: { case: 'token', value: token } })
    const after = Array.from({ length: 10 }, use)
    await ended
    t.same(await validate([token]), ['invalid'])
    const outcomes = await Promise.all([...before, ...after])
    valid += outcomes.filter((outcome) => outcome === 'session').length
    t.same(await validate([token]), ['invalid'], 'when all uses are done')
  }
  t.ok(valid > 0, `${valid} of ${20 * rounds} uses found the session`)
})

t.test('a use that is written after the end of a session does not revive it', async (t) => {
  const userId = newUser()
  const { token } = await client.createSession({ userId })
  await client.deleteSession({ target: { case: 'token', value: token } })
  const { idleTimeout, lifetime } = rules
  const touch = [hashOf(token), String(Date.now()), String(idleTimeout), String(lifetime)] as const
  t.equal(await store.redis.touchSession([sessionsKey(userId), agentsKey(userId)], ...touch), 0)
  t.equal(await storedValue(service, token), undefined)
})
