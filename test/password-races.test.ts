/** No session and no right of the old password outlives a change or a reset, over two gateways, whatever races it. */

import t from 'tap'
import { createMailServer, mailSettings } from './support/mail-server.ts'
import { type Answer, createProduct, longBudgets, newAddress, password } from './support/product.ts'

t.setTimeout(600_000)

const rounds = 25
const mail = await createMailServer(t)
await mail.start()
// A cost at which a hash takes some milliseconds, so that logins are in all of their steps when the race begins.
const settings = {
  // Hundreds of logins with an old password would be refused as guesses, the right one after them too.
  USER_SVC_BRUTE_FORCE_ENABLED: 'false',
  ...longBudgets,
  ...mailSettings(mail.port),
  USER_SVC_PASSWORD_COST: '8',
  GATEWAY_BUDGETS_PASSWORD: '20s',
  GATEWAY_BUDGETS_ACCOUNT: '20s'
}
const first = await createProduct(t, settings)
const { USER_SVC_POSTGRES_URL, RPC_TOKEN, RPC_USER_SVC_URL, RPC_SESSION_SVC_URL } = first.env as Record<string, string>
const shared = { USER_SVC_POSTGRES_URL, RPC_TOKEN, RPC_USER_SVC_URL, RPC_SESSION_SVC_URL } as Record<string, string>
const second = await createProduct(t, { ...settings, ...shared })
await first.startAll()
second.start('gateway')
await second.untilReady('gateway')
const gateways = [first, second]
const gateway = (index: number) => gateways[index % 2] as typeof first

async function newAccount() {
  const email = newAddress()
  const { status, body } = await first.call('POST', '/reg', { json: { email, password } })
  t.equal(status, 201)
  return { email, token: body.session.token as string }
}

const tokensOf = (answers: Answer[]) =>
  answers.filter(({ status }) => status === 200).map(({ body }) => body.session.token as string)

async function validationStatuses(tokens: string[]): Promise<number[]> {
  const answers = await Promise.all(
    tokens.flatMap((token) => gateways.map(({ call }) => call('GET', '/session', { token })))
  )
  return answers.map(({ status }) => status)
}

/** Logins with the old password, over both gateways, each sent after a random delay. */
function racingLogins(email: string, count: number, withinMs: number): Promise<Answer>[] {
  return Array.from({ length: count }, async (_, index) => {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * withinMs))
    return gateway(index).call('POST', '/auth', { json: { email, password } })
  })
}

t.test(`${rounds} password changes that race logins and a second change`, async (t) => {
  let rejected = 0
  for (let round = 0; round < rounds; round += 1) {
    const { email, token } = await newAccount()
    const logins = racingLogins(email, 8, 200)
    const change = (index: number) => {
      const json = { currentPassword: password, newPassword: `changed by gateway ${index}` }
      return gateway(index).call('PUT', '/password', { token, json })
    }
    const changes = await Promise.all([change(0), change(1)])
    const answers = await Promise.all(logins)
    const [winner, ...others] = changes.filter(({ status }) => status === 200)
    t.same(others, [], 'one change succeeds')
    t.ok(winner, 'a change succeeds')
    // The other change found the old hash gone, or its session ended.
    t.ok(changes.some(({ status }) => status === 403 || status === 401))
    t.same(new Set(await validationStatuses([token, ...tokensOf(answers)])), new Set([401]))
    t.same(new Set(await validationStatuses([winner?.body.session.token])), new Set([200]))
    const again = await first.call('POST', '/auth', { json: { email, password } })
    t.equal(again.status, 401, 'the old password is rejected')
    rejected += answers.filter(({ status }) => status === 401).length
    t.same(
      answers.filter(({ status }) => ![200, 401, 503].includes(status)),
      []
    )
  }
  t.ok(rejected > 0 && rejected < rounds * 8, `${rejected} of ${rounds * 8} logins came after the change`)
})

t.test(`${rounds} resets that race logins and a second use of the token`, async (t) => {
  let accepted = 0
  for (let round = 0; round < rounds; round += 1) {
    const { email, token } = await newAccount()
    t.equal((await first.call('POST', '/password/reset', { json: { email } })).status, 202)
    const emailed = await mail.tokenTo(email, 'reset')
    const logins = racingLogins(email, 8, 200)
    const reset = (index: number) => {
      const json = { token: emailed, newPassword: `reset by gateway ${index}` }
      return gateway(index).call('PUT', '/password/reset', { json })
    }
    const resets = await Promise.all([reset(0), reset(1)])
    const answers = await Promise.all(logins)
    t.same(resets.map(({ status }) => status).sort(), [204, 403], 'one use of the token succeeds')
    t.same(new Set(await validationStatuses([token, ...tokensOf(answers)])), new Set([401]))
    const winner = resets.findIndex(({ status }) => status === 204)
    const passwords = [password, 'reset by gateway 0', 'reset by gateway 1']
    const statuses = []
    for (const each of passwords) {
      statuses.push((await first.call('POST', '/auth', { json: { email, password: each } })).status)
    }
    t.same(statuses, winner === 0 ? [401, 200, 401] : [401, 401, 200])
    accepted += tokensOf(answers).length
  }
  t.ok(accepted > 0, `${accepted} of ${rounds * 8} logins came before the reset`)
})

t.test(`${rounds} revocations of all other sessions that race logins`, async (t) => {
  for (let round = 0; round < rounds; round += 1) {
    const { email, token } = await newAccount()
    const early = await first.call('POST', '/auth', { json: { email, password } })
    const logins = racingLogins(email, 6, 40)
    const sentAt = performance.now()
    const revocation = await gateway(round).call('DELETE', '/sessions', { token })
    const tookMs = performance.now() - sentAt
    await Promise.all(logins)
    t.equal(revocation.status, 204, `after ${Math.round(tookMs)} ms`)
    t.same(new Set(await validationStatuses(tokensOf([early]))), new Set([401]))
    t.same(new Set(await validationStatuses([token])), new Set([200]), 'the current session is kept')
  }
})
