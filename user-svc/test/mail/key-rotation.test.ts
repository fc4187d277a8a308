/** Rotation of `mail.keys`: tokens of a key are valid while it is configured. */

import t from 'tap'
import { newAddress, newestToken, password, reasonOf, rejection } from '../accounts/account-tests.ts'
import { mailKey, startUserSvc } from '../service.ts'

const older = mailKey('older')
const mail = { keys: [older] }
const service = await startUserSvc(t, { mail })
const { client } = service

async function newToken() {
  const { user } = await client.registerAndLogin({ email: newAddress(), password })
  return newestToken(service, user?.id as string, 'verify')
}

t.test('a token of an older key is valid while the key is configured', async (t) => {
  const tokens = [await newToken(), await newToken()] as const
  const newest = mailKey('newest')
  mail.keys = [newest, older]
  t.ok((await client.verifyEmail({ token: tokens[0] })).userId)
  const current = await newToken()
  mail.keys = [newest]
  t.equal(reasonOf(await rejection(client.verifyEmail({ token: tokens[1] }))), 'TOKEN_REJECTED')
  t.ok((await client.verifyEmail({ token: current })).userId)
})
