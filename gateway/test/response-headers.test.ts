/** The headers that restrict browsers are on every response: each route, pages and their files, preflights, raw refusals. */

import t from 'tap'
import { browserHeaders, transportHeaders } from '../response-headers.ts'
import { requestOf, routes } from './all-routes.ts'
import { firstAnswer, head, sendBytes } from './bytes.ts'
import { buildGateway, listen, newSession, requireForm, workingServices } from './gateway.ts'

const user = newSession()
const origin = 'https://app.example.org'
const { app } = await buildGateway(t, { ...workingServices(user), options: { docs: true, origins: [origin] } })

t.test('on every response that is no page', async (t) => {
  t.same(browserHeaders, {
    'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY'
  })
  for (const route of routes)
    requireForm(t, await app.inject(requestOf(route, user.headers)), route.success, route.name)
  for (const route of routes) {
    const answer = await app.inject(requestOf(route))
    requireForm(t, answer, answer.statusCode, `${route.name} without a token`)
  }
  const preflight = { origin, 'access-control-request-method': 'POST' }
  for (const [request, status] of [
    [{ method: 'GET', url: '/missing' }, 404],
    [{ method: 'PATCH', url: '/session' }, 405],
    [{ method: 'GET', url: '/openapi.json' }, 200],
    [{ method: 'GET', url: '/%zz' }, 400],
    [{ method: 'OPTIONS', url: '/auth', headers: preflight }, 204]
  ] as const) {
    const answer = await app.inject(request)
    t.equal(answer.statusCode, status, request.url)
    t.match(answer.headers, browserHeaders, request.url)
    t.notHas(answer.headers, 'strict-transport-security', 'not without TLS')
  }
})

t.test('on refusals that reach no route', async (t) => {
  const port = await listen(app)
  for (const [bytes, status] of [
    ['garbage\r\n\r\n', 400],
    [head('GET /session HTTP/1.1', `A: ${'x'.repeat(20_000)}`), 431]
  ] as const) {
    requireForm(t, firstAnswer(await sendBytes(port, bytes, 300)), status)
  }
})

t.test('pages have policies of their own, without scripts inline or of other origins', async (t) => {
  const { 'content-security-policy': _policy, ...others } = browserHeaders
  for (const url of [
    '/docs',
    '/docs/static/index.html',
    '/docs/static/swagger-ui.css',
    '/playground',
    '/playground/playground.js'
  ]) {
    const answer = await app.inject(url)
    t.equal(answer.statusCode, 200, url)
    t.match(answer.headers, others, url)
    const policy = String(answer.headers['content-security-policy'])
    t.match(policy, /^default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'/, url)
    t.notMatch(policy, /script-src|unsafe-eval|https?:|\*/, url)
  }
})

t.test('strict transport security over TLS', async (t) => {
  t.same(transportHeaders({ encrypted: true } as never), { 'strict-transport-security': 'max-age=31536000' })
  t.same(transportHeaders({} as never), {})
})
