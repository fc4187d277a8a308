/** A client whose network is over the limit of the gateway: only a valid device token admits its guess. */

import { Code } from '@connectrpc/connect'
import t from 'tap'
import { codeOf } from '#common/testing/code-of.ts'
import { newAddress, password, startAccountTests } from '../accounts/account-tests.ts'

t.test('rejects a guess that needs a device token and has no valid one, before any hash', async (t) => {
  const { client, hashes } = await startAccountTests(t)
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  const before = await hashes()
  for (const deviceToken of [undefined, '', 'forged']) {
    const origin = { network: '192.0.2.1', deviceRequired: true, ...(deviceToken !== undefined && { deviceToken }) }
    const calls = [
      client.authenticateAndLogin({ email, password, client: origin }),
      client.authenticateAndLogin({ email: newAddress(), password, client: origin }),
      client.changePassword({
        userId: user?.id as string,
        currentPassword: password,
        newPassword: 'lamp purple monkey',
        client: origin
      }),
      client.changeEmail({ userId: user?.id as string, email: newAddress(), password, client: origin })
    ]
    t.same(await Promise.all(calls.map(codeOf)), Array(calls.length).fill(Code.ResourceExhausted))
  }
  t.equal(await hashes(), before)
  t.ok((await client.authenticateAndLogin({ email, password, client: { network: '192.0.2.1' } })).token)
})
