/** The routes of the running product, from registration to deletion. */

import t from 'tap'
import { until } from '#common/testing/until.ts'
import { createProduct, longBudgets, newAddress, password } from './support/product.ts'

// The test of the traces reads the lines that the services print.
const product = await createProduct(t, { ...longBudgets, LOG_STDOUT: 'trace' })
await product.startAll()
const { call } = product

t.test('registers, validates, logs out, logs in again, and deletes the account', async (t) => {
  const email = newAddress()
  const registered = await call('POST', '/reg', { json: { email, password } })
  t.equal(registered.status, 201)
  t.match(registered.body, { user: { email }, session: { token: /^ses_/ } })
  const { user, session } = registered.body
  t.same(Object.keys(user), ['id', 'email', 'emailVerified', 'createdAt'])
  t.same(Object.keys(session), ['id', 'createdAt', 'expiresAt', 'token'])

  const seen = await call('GET', '/session', { token: session.token })
  t.equal(seen.status, 200)
  t.match(seen.body, { user: { id: user.id }, session: { id: session.id, expiresAt: session.expiresAt } })
  t.same(Object.keys(seen.body.session), ['id', 'createdAt', 'lastSeenAt', 'expiresAt'])
  t.equal(seen.headers.get('x-user-id'), user.id)
  t.equal(seen.headers.get('x-session-id'), session.id)

  t.equal((await call('DELETE', '/logout', { token: session.token })).status, 204)
  t.equal((await call('DELETE', '/logout', { token: session.token })).status, 204)
  t.equal((await call('GET', '/session', { token: session.token })).status, 401)

  const first = await call('POST', '/auth', { json: { email: email.toUpperCase(), password } })
  t.equal(first.status, 200)
  const second = await call('POST', '/auth', { json: { email, password }, token: first.body.session.token })
  t.equal(
    (await call('GET', '/session', { token: first.body.session.token })).status,
    401,
    'the login replaced the session'
  )
  const { token } = second.body.session

  t.equal((await call('DELETE', '/delete', { token })).status, 204)
  t.equal((await call('GET', '/session', { token })).status, 401)
  t.equal((await call('DELETE', '/delete', { token })).status, 401)
  t.equal((await call('POST', '/auth', { json: { email, password } })).status, 401)
  t.equal((await call('POST', '/reg', { json: { email, password } })).status, 201, 'the address is free again')
})

t.test('answers 409 to a taken address, and the same 401 to a wrong address and a wrong password', async (t) => {
  const email = newAddress()
  await call('POST', '/reg', { json: { email, password } })
  t.equal((await call('POST', '/reg', { json: { email, password } })).status, 409)
  const refused = [
    await call('POST', '/auth', { json: { email, password: 'wrong password' } }),
    await call('POST', '/auth', { json: { email: newAddress(), password } }),
    await call('POST', '/auth', { json: { email, password: 'x'.repeat(4000) } })
  ]
  const forms = refused.map(({ status, headers, body }) => {
    return { status, body: { ...body, traceId: '' }, names: [...headers.keys()], length: headers.get('content-length') }
  })
  t.equal(refused[0]?.status, 401)
  t.same(forms[1], forms[0])
  t.same(forms[2], forms[0])
})

t.test('logs a request with its trace in every service', async (t) => {
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const response = await fetch(`http://127.0.0.1:${product.ports.rest}/reg`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', traceparent: `00-${traceId}-b7ad6b7169203331-01` },
    body: JSON.stringify({ email: newAddress(), password })
  })
  t.equal(response.status, 201)
  t.match(response.headers.get('traceparent'), new RegExp(`^00-${traceId}-`))
  for (const service of ['gateway', 'user-svc', 'session-svc'] as const) {
    await until(`${service} has logged the trace`, () => product.output(service).includes(traceId))
  }
})

t.test('registers an address once, of ten concurrent registrations', async (t) => {
  const email = newAddress()
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => call('POST', '/reg', { json: { email, password } }))
  )
  const statuses = answers.map(({ status }) => status).sort()
  t.same(statuses, [201, ...Array.from({ length: 9 }, () => 409)])
})
