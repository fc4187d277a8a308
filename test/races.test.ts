/** Promise 2: after a deletion was answered, no session of the account validates, however log-ins raced it. */

import { createClient } from '@connectrpc/connect'
import t from 'tap'
import { maxCreatedEpoch, maxRevokedEpoch } from '#common/session/session-epoch.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { testTransport } from '#common/testing/service.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { createProduct, newAddress, password } from './support/product.ts'

// A cost at which hashing takes some milliseconds, so that the deletion falls between the steps of the log-ins.
const product = await createProduct(t, { USER_SVC_PASSWORD_COST: '8' })
await product.startAll()
const { call } = product

t.test('twenty log-ins race one deletion', async (t) => {
  let outlived = 0
  for (let round = 0; round < 15; round++) {
    const email = newAddress()
    const { body } = await call('POST', '/reg', { json: { email, password } })
    const logins = Array.from({ length: 20 }, () => call('POST', '/auth', { json: { email, password } }))
    await new Promise((resolve) => setTimeout(resolve, round * 8))
    const deletion = await call('DELETE', '/delete', { token: body.session.token })
    const answers = await Promise.all(logins)
    t.equal(deletion.status, 204)
    const tokens = answers.filter(({ status }) => status === 200).map((answer) => answer.body.session.token)
    const others = answers.filter(({ status }) => status !== 200).map(({ status }) => status)
    t.ok(
      others.every((status) => status === 401 || status === 503),
      `the others: ${others.join(' ')}`
    )
    const checks = await Promise.all(tokens.map((token) => call('GET', '/session', { token })))
    outlived += checks.filter(({ status }) => status !== 401).length
    t.comment(`round ${round}: ${tokens.length} of 20 had logged in`)
  }
  t.equal(outlived, 0)
})

const sessions = createClient(SessionService, testTransport(product.ports.sessions, product.rpcToken))

fieldCase(t, 24, 'a login during or after a revocation by RPC succeeds, and the next revocation ends it', async (t) => {
  const email = newAddress()
  const { body } = await call('POST', '/reg', { json: { email, password } })
  const userId = body.user.id as string
  for (let round = 0; round < 8; round++) {
    const logins = Array.from({ length: 6 }, () => call('POST', '/auth', { json: { email, password } }))
    await new Promise((resolve) => setTimeout(resolve, round * 15))
    await sessions.deleteUserSessions({ userId })
    logins.push(call('POST', '/auth', { json: { email, password } }))
    const answers = await Promise.all(logins)
    t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
    await sessions.deleteUserSessions({ userId })
    const tokens = answers.map((answer) => answer.body.session.token as string)
    const checks = await Promise.all(tokens.map((token) => call('GET', '/session', { token })))
    t.same(new Set(checks.map(({ status }) => status)), new Set([401]))
  }
  t.notMatch(product.output('user-svc'), /"level":"(error|50)"|"stack":/)
})

fieldCase(
  t,
  22,
  'after a revocation at the highest epoch users log in, and a deletion ends every session',
  async (t) => {
    const email = newAddress()
    const { body } = await call('POST', '/reg', { json: { email, password } })
    const userId = body.user.id as string
    const { token: highest } = await sessions.createSession({ userId, epoch: maxCreatedEpoch })
    await sessions.deleteUserSessions({ userId, epoch: maxRevokedEpoch })
    const { status, body: again } = await call('POST', '/auth', { json: { email, password } })
    t.equal(status, 200)
    const { token: higher } = await sessions.createSession({ userId, epoch: 2n ** 53n - 1n })
    t.equal((await call('GET', '/session', { token: highest })).status, 401)
    t.equal((await call('GET', '/session', { token: higher })).status, 200)
    t.equal((await call('DELETE', '/delete', { token: again.session.token })).status, 204)
    for (const token of [again.session.token, higher]) t.equal((await call('GET', '/session', { token })).status, 401)
  }
)
