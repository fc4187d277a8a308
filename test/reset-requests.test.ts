/** Many requests for a password reset: one email for an account, none for an unknown address, and responses that show neither. */

import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { createMailServer, mailSettings } from './support/mail-server.ts'
import { createProduct, longBudgets, newAddress } from './support/product.ts'

t.setTimeout(600_000)

const requests = 10_000
const clients = 64
const mail = await createMailServer(t)
await mail.start()
const budgets = { GATEWAY_BUDGETS_PASSWORD: '20s', GATEWAY_BUDGETS_ACCOUNT: '20s' }
const product = await createProduct(t, { ...longBudgets, ...budgets, ...mailSettings(mail.port) })
await product.startAll()
const database = postgres(product.env.USER_SVC_POSTGRES_URL as string, { max: 1, onnotice: () => {} })
t.teardown(() => database.end())
const url = `http://127.0.0.1:${product.ports.rest}/password/reset`

/** The response without the parts that belong to one request: status, headers and body. */
async function request(email: string): Promise<string> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ email }) })
  const kept = [...response.headers].filter(([name]) => !['date', 'traceparent', 'x-request-id'].includes(name))
  return JSON.stringify([response.status, kept, await response.text()])
}

t.test(`${requests} requests for one address send one email`, async (t) => {
  const known = await product.register()
  const unknown = newAddress()
  const startedAt = Date.now()
  const answers = new Map<string, number>()
  let sent = 0
  async function client(): Promise<void> {
    while (sent < requests) {
      sent += 1
      const answer = await request(known.email.toUpperCase())
      // A busy machine sheds requests for any address.
      if (answer.startsWith('[503')) {
        sent -= 1
        await sleep(1000)
        continue
      }
      answers.set(answer, (answers.get(answer) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: clients }, client))
  const [answer = ''] = answers.keys()
  t.equal(answers.size, 1, `every response has the same bytes: ${[...answers]}`)
  t.match(answer, /^\[202,/)
  t.equal(await request(unknown), answer, 'the response for an unknown address has the same bytes')
  const minutes = Math.ceil((Date.now() - startedAt) / 60_000)
  const [row] = await database<{ due: number; waiting: number }[]>`
    select count(*)::int as due from emails where purpose = 'reset' and recipient = ${known.email}`
  t.ok(row && row.due >= 1 && row.due <= minutes, `${row?.due} emails became due in ${minutes} minutes`)
  await until('the email has arrived', () => resetsTo(known.email) === row?.due, 30_000)
  t.equal(mail.textsTo(unknown).length, 0)
  const { count } = (await database`select count(*)::int as count from emails where recipient = ${unknown}`)[0] ?? {}
  t.equal(count, 0, 'no row holds an unknown address')
  t.notMatch(product.output(), known.email)
  t.notMatch(product.output(), unknown)
})

const resetsTo = (address: string) => mail.textsTo(address).filter((text) => text.includes('/reset#')).length
