/** The whole life of an account, over REST and over RPC: the same steps with the same results. */

import t, { type Test } from 'tap'
import { type AccountClient, restClient, rpcClient, userAgent } from './support/account-clients.ts'
import { createMailServer, mailSettings } from './support/mail-server.ts'
import { createProduct, longBudgets, newAddress, password } from './support/product.ts'

t.setTimeout(600_000)

const mail = await createMailServer(t)
await mail.start()
const budgets = { GATEWAY_BUDGETS_PASSWORD: '20s', GATEWAY_BUDGETS_ACCOUNT: '20s' }
const product = await createProduct(t, { ...longBudgets, ...budgets, ...mailSettings(mail.port) })
await product.startAll()

const rest = restClient(product.ports.rest)
const rpc = rpcClient(product)

async function live(t: Test, client: AccountClient): Promise<void> {
  const email = newAddress()
  const first = await client.register(email, password)
  t.equal(first.emailVerified, false)
  t.same(await client.account(first), { email, emailVerified: false })
  t.equal(await errorOf(client.register(email, password)), 'already-exists')
  await client.requestVerification(first)
  await client.verify(await mail.tokenTo(email, 'verify'))
  t.same(await client.account(first), { email, emailVerified: true })
  t.ok(await client.isValid(first), 'a verification ends no session')

  const second = await client.logIn(email, password)
  const third = await client.logIn(email, password)
  t.equal(second.emailVerified, true)
  const listed = await client.sessions(second)
  t.same(
    listed.map(({ id }) => id),
    [third, second, first].map(({ sessionId }) => sessionId),
    'newest first'
  )
  t.same(
    listed.map(({ current }) => current),
    [false, true, false]
  )
  t.same(new Set(listed.map((each) => each.userAgent)), new Set([userAgent]))
  await client.endSession(second, third.sessionId)
  await client.endSession(second, third.sessionId)
  t.same(await Promise.all([first, second, third].map(client.isValid)), [true, true, false])
  await client.endOthers(second)
  t.same(await Promise.all([first, second].map(client.isValid)), [false, true])

  const changed = 'a second horse battery'
  t.equal(await errorOf(client.changePassword(second, 'not the password', changed)), 'wrong-password')
  const afterChange = await client.changePassword(second, password, changed)
  t.same(await Promise.all([second, afterChange].map(client.isValid)), [false, true])
  t.equal(await errorOf(client.logIn(email, password)), 'unauthenticated')

  await client.requestReset(email)
  const token = await mail.tokenTo(email, 'reset')
  const reset = 'a third horse battery'
  await client.resetPassword(token, reset)
  t.equal(await errorOf(client.resetPassword(token, 'a fourth horse battery')), 'invalid-token')
  t.equal(await client.isValid(afterChange), false)
  const afterReset = await client.logIn(email, reset)

  const moved = newAddress()
  t.equal(await errorOf(client.changeEmail(afterReset, moved, 'not the password')), 'wrong-password')
  await client.changeEmail(afterReset, moved, reset)
  t.same(await client.account(afterReset), { email, emailVerified: true }, 'the address changes with the token')
  await client.verify(await mail.tokenTo(moved, 'verify'))
  t.same(await client.account(afterReset), { email: moved, emailVerified: true })
  t.equal(await errorOf(client.logIn(email, reset)), 'unauthenticated')
  t.ok(
    mail.textsTo(email).some((text) => /^Subject:.*address/im.test(text)),
    'the old address gets a notice'
  )

  const last = await client.logIn(moved, reset)
  await client.logOut(last)
  t.equal(await client.isValid(last), false)
  await client.deleteAccount(afterReset)
  t.equal(await client.isValid(afterReset), false)
  t.equal(await errorOf(client.logIn(moved, reset)), 'unauthenticated')
}

t.test('over REST', (t) => live(t, rest))
t.test('over RPC', (t) => live(t, rpc))

/** The type of the problem that a call rejects with. */
async function errorOf(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => new Error('no error'),
    (thrown) => thrown as Error
  )
  return error.message
}
