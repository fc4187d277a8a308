/** A registration that user-svc accepts without a session, because taken addresses are concealed. */

import t from 'tap'
import { buildGateway, credentials, loginAnswer, requireForm } from './gateway.ts'

// More than user-svc sends: none of it reaches the client.
const accepted = { ...loginAnswer(), deviceToken: 'dev_issued.1', acceptedWithoutSession: true }
const { app } = await buildGateway(t, { users: { registerAndLogin: () => accepted } })

t.test('is 202 with an empty object, without session, cookie and device token', async (t) => {
  for (const cookie of [false, true]) {
    const headers = { cookie: '__Host-session=ses_a; __Host-device=dev_b.1', 'sec-fetch-site': 'same-origin' }
    const answer = await app.inject({ method: 'POST', url: '/reg', headers, payload: { ...credentials, cookie } })
    t.same(requireForm(t, answer, 202), {})
    t.match(answer.headers['content-type'], /^application\/json/)
    for (const name of ['set-cookie', 'x-device-token']) t.equal(answer.headers[name], undefined, name)
  }
})

t.test('is described', async (t) => {
  const { paths, components } = (await app.inject('/openapi.json')).json()
  const described = paths['/reg'].post.responses[202]
  t.same(Object.keys(described.headers), ['X-Request-Id', 'traceparent', 'RateLimit', 'RateLimit-Policy'])
  const { schema, example } = described.content['application/json']
  t.match(schema.$ref, /\/RegistrationAccepted$/)
  t.match(components.schemas.RegistrationAccepted, { type: 'object', properties: {} })
  t.same(example, {})
})
