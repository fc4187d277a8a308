/** Logout over gRPC. */

import { Code } from '@connectrpc/connect'
import t from 'tap'
import { newAddress, password, rejection, startAccountTests } from './account-tests.ts'

const { client, sessions } = await startAccountTests(t)

t.test('ends the session, and succeeds again when it has ended', async (t) => {
  const { token } = await client.registerAndLogin({ email: newAddress(), password })
  await client.logout({ token })
  t.equal(sessions.live.size, 0)
  await t.resolves(client.logout({ token }))
})

t.test('rejects a malformed token', async (t) => {
  t.equal((await rejection(client.logout({ token: 'garbage' }))).code, Code.InvalidArgument)
})
