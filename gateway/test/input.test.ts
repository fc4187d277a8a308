/** What the gateway refuses, and how: always problem+json, always with the trace id. */

import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { createToken } from '#common/session/session-token.ts'
import { parseJsonBody } from '../plugins/json-body.ts'
import { authorization, buildGateway, json, token } from './service.ts'

const { app } = await buildGateway(t)
const credentials = { email: 'ada@example.org', password: 'correct horse' }

function problem(
  response: LightMyRequestResponse,
  status: number
): { [key: string]: unknown; errors?: { field: string }[] } {
  t.equal(response.statusCode, status)
  t.match(response.headers['content-type'], /^application\/problem\+json/)
  t.equal(response.headers['cache-control'], 'no-store')
  const body = response.json()
  t.match(body, { type: /^urn:problem-type:[a-z-]+$/, title: /\w/, status, detail: /\w/, traceId: /^[0-9a-f]{32}$/ })
  t.equal(response.headers['x-request-id'], body.traceId)
  t.ok(String(response.headers.traceparent).includes(body.traceId))
  return body
}

const post = (payload: string | Buffer, headers: Record<string, string> = json, url = '/reg') =>
  app.inject({ method: 'POST', url, headers, payload })

t.test('bodies', async (t) => {
  const cases: [string | Buffer, string][] = [
    ['{"email":', 'body'],
    ['', 'body'],
    ['[]', 'body'],
    ['"text"', 'body'],
    ['null', 'body'],
    ['{} {}', 'body'],
    ['\ufeff{}', 'body'],
    ['{"email":"a@b.cd"}', 'password'],
    ['{"email":1,"password":"x"}', 'email'],
    ['{"email":null,"password":"x"}', 'email'],
    ['{"email":["a@b.cd"],"password":"x"}', 'email'],
    ['{"email":"a@b.cd","password":true}', 'password'],
    ['{"email":"a@b.cd","password":"x","admin":true}', 'admin'],
    ['{"email":"a@b.cd","password":"x","__proto__":{"a":1}}', '__proto__'],
    ['{"email":"a@b.cd","password":"x","constructor":{"prototype":1}}', 'constructor'],
    ['{"email":"a@b.cd","password":"x","password":"y"}', 'body'],
    ['{"email":"a@b.cd","password":"x","pass\\u0077ord":"y"}', 'body'],
    ['{"email":"a@b.cd","password":"\\ud800"}', 'body'],
    [Buffer.from('{"email":"a@b.cd","password":"\xff"}', 'latin1'), 'body'],
    [`{"email":"${'a'.repeat(300)}@b.cd","password":"x"}`, 'email']
  ]
  for (const [body, field] of cases) {
    for (const url of ['/reg', '/auth']) {
      const { errors } = problem(await post(body, json, url), 400)
      t.same(
        errors?.map((each) => each.field),
        [field],
        String(body).slice(0, 60)
      )
    }
  }
  problem(await post(JSON.stringify({ ...credentials, password: 'x'.repeat(20_000) })), 413)
  problem(await post('['.repeat(16_000)), 400)
  t.equal((await post('{"email":"a@b.cd","password":"\\"password\\":1"}')).statusCode, 201, 'a quoted key is no key')
})

t.test('content types', async (t) => {
  const body = JSON.stringify(credentials)
  const taken = [
    'application/json',
    'application/json; charset=utf-8',
    'Application/JSON;charset="UTF-8"',
    'application/json ; a=b'
  ]
  for (const type of taken) t.equal((await post(body, { 'content-type': type })).statusCode, 201, type)
  const refused = [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonx',
    'application/json-seq',
    'application/problem+json',
    'text/json',
    'json',
    'application',
    '',
    'application/json; charset=utf-16',
    'application/json; charset=latin1',
    'text/plain, application/json',
    'application/json\tx',
    'text/plain; application/json',
    'application/octet-stream'
  ]
  for (const type of refused) problem(await post(body, { 'content-type': type }), 415)
  const json = { 'content-type': 'application/json' }
  for (const coding of ['gzip', 'br', 'identity, gzip', 'GZIP', 'aws-chunked']) {
    problem(await post(body, { ...json, 'content-encoding': coding }), 415)
  }
  t.not((await post(body, { ...json, 'content-encoding': 'identity' })).statusCode, 415)
})

t.test('paths and methods', async (t) => {
  for (const url of ['/', '/nowhere', '/reg/', '/REG', '/session/x']) problem(await app.inject(url), 404)
  const known = { '/reg': 'POST', '/auth': 'POST', '/session': 'GET, HEAD', '/logout': 'DELETE', '/delete': 'DELETE' }
  for (const [url, allow] of Object.entries(known)) {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
      if (allow.includes(method)) continue
      const response = await app.inject({ method, url: `${url}?a=b` })
      problem(response, 405)
      t.equal(response.headers.allow, allow)
    }
  }
  problem(await app.inject('/%zz'), 400)
})

t.test('credentials', async (t) => {
  const refused = [
    undefined,
    '',
    'Bearer',
    'Bearer ',
    `Basic ${token}`,
    token,
    `Bearer ${token}x`,
    `Bearer ${token.slice(0, -1)}`,
    'Bearer x y',
    `Bearer ${token} ${token}`,
    `Bearer ${token.toLowerCase()}`,
    `bearer,${token}`
  ]
  for (const [method, url] of [
    ['GET', '/session'],
    ['DELETE', '/logout'],
    ['DELETE', '/delete']
  ] as const) {
    for (const credential of refused) {
      const headers = credential === undefined ? {} : { authorization: credential }
      const response = await app.inject({ method, url: `${url}?token=${token}&access_token=${token}`, headers })
      problem(response, 401)
      t.match(
        response.headers['www-authenticate'],
        credential === undefined ? /^Bearer$/ : /^Bearer error="invalid_token"$/
      )
    }
  }
  for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
    t.equal((await app.inject({ url: '/session', headers: { authorization: `${scheme} ${token}` } })).statusCode, 200)
  }
  const { token: other } = createToken('018f5a3e-7b6a-7c11-8a2b-0123456789ab')
  t.equal(
    (await app.inject({ url: '/session', headers: { cookie: `token=${other}`, 'x-token': other } })).statusCode,
    401
  )
})

t.test('reading JSON takes no longer than its length', async (t) => {
  const timeOf = (payload: string) => {
    const startedAt = performance.now()
    for (let round = 0; round < 20; round++) parseJsonBody(Buffer.from(payload))
    return performance.now() - startedAt
  }
  const quotes = `{"email":"${'\\"'.repeat(8000)}"}`
  const plain = `{"email":"${'xx'.repeat(8000)}"}`
  timeOf(plain)
  const ratio = timeOf(quotes) / timeOf(plain)
  t.ok(ratio < 30, `${ratio.toFixed(1)} times a plain text of the same length`)
  t.same(parseJsonBody(Buffer.from('{"a":["x",":"],"b":{"a":"\\":"}}')), { a: ['x', ':'], b: { a: '":' } })
})

t.test('a route that takes no body drops none in silence', async (t) => {
  const remove = (payload?: string) =>
    app.inject({
      method: 'DELETE',
      url: '/logout',
      headers: { ...json, ...authorization },
      ...(payload && { payload })
    })
  for (const payload of ['{"all":true}', '[1]', '[]', '"x"', '""', '0', 'null']) problem(await remove(payload), 400)
  for (const payload of [undefined, '{}']) t.equal((await remove(payload)).statusCode, 204)
})

t.test('files that are not to be had are 404', async () => {
  problem(await app.inject('/docs/static/nope.js'), 404)
  problem(await app.inject('/docs/static/..%2f..%2f..%2fpackage.json'), 404)
})
