/** Sessions under concurrency: no creation survives a revocation that it races, no use revives a session that has ended. */

import { Code, ConnectError } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { createAged, hashOf, sessionsKey, storedValue } from './aged-session.ts'
import { newUser, rules, startSessionSvc } from './service.ts'

const service = await startSessionSvc(t)
const { client, store } = service
const rounds = 20

/** Creates sessions before and after a revocation, without awaiting any. @returns those that were created */
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
    const { results } = await client.validateSessions({ tokens })
    const survivors = results.filter(({ result }) => result.case !== 'invalid')
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
    const validate = async () => (await client.validateSession({ token })).result.case
    const before = Array.from({ length: 10 }, validate)
    const ended = client.deleteSession({ target: { case: 'token', value: token } })
    const after = Array.from({ length: 10 }, validate)
    await ended
    t.equal(await validate(), 'invalid')
    const outcomes = await Promise.all([...before, ...after])
    valid += outcomes.filter((outcome) => outcome === 'session').length
    t.equal(await validate(), 'invalid', 'when all uses are done')
  }
  t.ok(valid > 0, `${valid} of ${20 * rounds} uses found the session`)
})

t.test('a use that is written after the end of a session does not revive it', async (t) => {
  const userId = newUser()
  const { token } = await client.createSession({ userId })
  await client.deleteSession({ target: { case: 'token', value: token } })
  const { idleTimeout, lifetime } = rules
  const touch = [hashOf(token), String(Date.now()), String(idleTimeout), String(lifetime)] as const
  t.equal(await store.redis.touchSession([sessionsKey(userId)], ...touch), 0)
  t.equal(await storedValue(service, token), undefined)
})
