/** Promise 2: no session of an account outlives a deletion or a revocation, however many logins race it. */

import { createClient } from '@connectrpc/connect'
import t from 'tap'
import { maxCreatedEpoch, maxRevokedEpoch } from '#common/session/session-epoch.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { testTransport } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { type Answer, createProduct, longBudgets, newAddress, password } from './support/product.ts'

// A cost at which a hash takes some milliseconds, so that logins are in all of their steps when the race begins.
const product = await createProduct(t, { ...longBudgets, USER_SVC_PASSWORD_COST: '8' })
await product.startAll()
const { call } = product

/** Sends logins at the same time. */
function startLogins(email: string, count: number) {
  const answers: Answer[] = []
  const logins = Array.from({ length: count }, async () => {
    answers.push(await call('POST', '/auth', { json: { email, password } }))
  })
  return {
    /** The logins that were answered so far. */
    answers,
    inFlight: () => count - answers.length,
    untilAnswered: (number: number) => until(`${number} logins are answered`, () => answers.length >= number),
    end: () => Promise.all(logins)
  }
}

const tokensOf = (answers: Answer[]) =>
  answers.filter(({ status }) => status === 200).map(({ body }) => body.session.token as string)

async function validationStatuses(tokens: string[]): Promise<number[]> {
  const answers = await Promise.all(tokens.map((token) => call('GET', '/session', { token })))
  return answers.map(({ status }) => status)
}

t.test('no session outlives a deletion that races twenty logins', async (t) => {
  let inFlight = 0
  let rejected = 0
  for (let round = 0; round < 15; round++) {
    const email = newAddress()
    const { body } = await call('POST', '/reg', { json: { email, password } })
    const logins = startLogins(email, 20)
    await logins.untilAnswered(round)
    inFlight += logins.inFlight()
    const deletion = await call('DELETE', '/delete', { token: body.session.token })
    await logins.end()
    t.equal(deletion.status, 204)
    t.same(
      logins.answers.filter(({ status }) => status !== 200 && status !== 401),
      [],
      'logins succeed or are rejected'
    )
    const tokens = tokensOf(logins.answers)
    t.ok(tokens.length >= round, `${tokens.length} of 20 logins succeeded`)
    rejected += 20 - tokens.length
    t.same(new Set(await validationStatuses([...tokens, body.session.token])), new Set([401]))
  }
  t.ok(inFlight > 0, `${inFlight} of 300 logins were in flight when the deletion was sent`)
  t.ok(rejected > 0, `the deletion came before ${rejected} of 300 logins`)
})

const sessions = createClient(SessionService, testTransport(product.ports.sessions, product.rpcToken))

fieldCase(t, 24, 'a login during or after a revocation by RPC succeeds, and the next revocation ends it', async (t) => {
  const email = newAddress()
  const { body } = await call('POST', '/reg', { json: { email, password } })
  const userId = body.user.id as string
  let inFlight = 0
  let ended = 0
  for (let round = 0; round < 8; round++) {
    const logins = startLogins(email, 8)
    await logins.untilAnswered(round)
    inFlight += logins.inFlight()
    await sessions.deleteUserSessions({ userId })
    await logins.end()
    const after = await call('POST', '/auth', { json: { email, password } })
    t.same(new Set([...logins.answers, after].map(({ status }) => status)), new Set([200]))
    const statuses = await validationStatuses(tokensOf(logins.answers))
    ended += statuses.filter((status) => status === 401).length
    t.ok(statuses.filter((status) => status === 401).length >= round, 'the revocation ended the earlier logins')
    await sessions.deleteUserSessions({ userId })
    t.same(new Set(await validationStatuses(tokensOf([...logins.answers, after]))), new Set([401]))
  }
  t.ok(inFlight > 0, `${inFlight} of 64 logins were in flight when the revocation was sent`)
  t.ok(ended < 64, `the revocation ended ${ended} of 64 logins, the others came after it`)
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
    t.same(await validationStatuses([highest, higher]), [401, 200])
    t.equal((await call('DELETE', '/delete', { token: again.session.token })).status, 204)
    t.same(await validationStatuses([again.session.token, higher]), [401, 401])
  }
)
