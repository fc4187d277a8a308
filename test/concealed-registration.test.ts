/** `POST /reg` with `userSvc.registration.concealTaken`: gateway and user-svc, on the real PostgreSQL and Redis. */

import t from 'tap'
import { buildGateway, limitsOf, newAddress as newNetwork, requireForm, transportTo } from '../gateway/test/gateway.ts'
import { newAddress, password } from '../user-svc/test/accounts/account-tests.ts'
import { startUserSvc } from '../user-svc/test/service.ts'

const deviceKeys = [`a:${Buffer.alloc(32, 1).toString('base64')}`]
const { port, sql } = await startUserSvc(t, { concealTaken: true, deviceKeys })
const parts = { userSvc: transportTo(port) }
const { app } = await buildGateway(t, { parts, options: { rateLimit: limitsOf({}) } })

/** The response without the trace and the time until the rate limit ends: status, headers and body. */
async function register(payload: { email: string; password: string; cookie?: boolean }) {
  const answer = await app.inject({ method: 'POST', url: '/reg', payload, remoteAddress: newNetwork() })
  requireForm(t, answer, answer.statusCode)
  const { date, traceparent, 'x-request-id': traceId, ...headers } = answer.headers
  headers.ratelimit = String(headers.ratelimit).replace(/;t=\d+$/, '')
  return { status: answer.statusCode, headers, body: answer.body.replaceAll(String(traceId), '') }
}

t.test('a free and a taken address have one response', async (t) => {
  for (const cookie of [false, true]) {
    const email = newAddress()
    const [free, taken] = [await register({ email, password, cookie }), await register({ email, password, cookie })]
    t.same(taken, free)
    t.match(free, { status: 202, body: /^\{\}$/ })
    t.same(
      Object.keys(free.headers).filter((name) => /cookie|device/.test(name)),
      []
    )
    t.equal((await sql`select from users where email = ${email}`).length, 1)
  }
})

t.test('invalid fields are 400 for both', async (t) => {
  const email = newAddress()
  await register({ email, password })
  const weak = (address: string) => register({ email: address, password: '12345678' })
  const answer = await weak(email)
  t.same(answer, await weak(newAddress()))
  t.equal(answer.status, 400)
  t.equal((await register({ email: 'nobody', password })).status, 400)
})
