/** Sessions under concurrency: no creation outlives a revocation, no use revives what has ended. */

import t from 'tap'
import { newUser, startSessionSvc } from './service.ts'

const { client } = await startSessionSvc(t)

t.test('of creations that race a revocation, none with the old epoch is valid afterwards', async (t) => {
  for (let round = 0; round < 20; round++) {
    const userId = newUser()
    const creations = Array.from({ length: 10 }, () =>
      client.createSession({ userId, epoch: 0n }).catch(() => undefined)
    )
    await client.deleteUserSessions({ userId, epoch: 1n })
    const created = (await Promise.all(creations)).filter((each) => each !== undefined)
    const { results } = await client.validateSessions({ tokens: created.map(({ token }) => token) })
    t.notOk(
      results.some(({ result }) => result.case === 'session'),
      `round ${round}: ${created.length} were created`
    )
  }
})

t.test('uses that race the end of a session do not revive it', async (t) => {
  const { client: eager } = await startSessionSvc(t, { idleTimeout: 1000 })
  for (let round = 0; round < 20; round++) {
    const { token } = await eager.createSession({ userId: newUser() })
    await new Promise((resolve) => setTimeout(resolve, 110))
    const uses = Array.from({ length: 10 }, () => eager.validateSession({ token }))
    await eager.deleteSession({ target: { case: 'token', value: token } })
    await Promise.all(uses)
    const { result } = await eager.validateSession({ token })
    t.equal(result.case, 'invalid')
  }
})

t.test('a revocation without an epoch ends every session whose creation began before it', async (t) => {
  for (let round = 0; round < 20; round++) {
    const userId = newUser()
    const creations = Array.from({ length: 10 }, (_, epoch) =>
      client.createSession({ userId, epoch: BigInt(epoch) }).catch(() => undefined)
    )
    await client.deleteUserSessions({ userId })
    const created = (await Promise.all(creations)).filter((each) => each !== undefined)
    const { results } = await client.validateSessions({ tokens: created.map(({ token }) => token) })
    t.notOk(
      results.some(({ result }) => result.case === 'session'),
      `round ${round}: ${created.length} were created`
    )
  }
})
