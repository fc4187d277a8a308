/** Invalid bodies, content types and paths: each is answered by a problem, without any upstream call. */

import t from 'tap'
import { routes } from './all-routes.ts'
import { buildGateway, credentials, loginAnswer, newSession, requireForm } from './gateway.ts'

let calls = 0
const login = () => {
  calls += 1
  return loginAnswer()
}
const { app } = await buildGateway(t, { users: { registerAndLogin: login, authenticateAndLogin: login } })
t.beforeEach(() => {
  calls = 0
})

const json = 'application/json'
function post(url: string, payload: string | Buffer | undefined, type: string | undefined = json) {
  const headers = type === undefined ? {} : { 'content-type': type }
  return app.inject({ method: 'POST', url, headers, ...(payload !== undefined && { payload }) })
}
const valid = JSON.stringify(credentials)
const latin1 = (text: string) => Buffer.from(text, 'latin1')

t.test('answers 400 with the field to a body that is no address and password', async (t) => {
  const bodies: [body: string | Buffer, field: string][] = [
    ['', 'body'],
    ['{', 'body'],
    ['{"email":"a","password":"b"} x', 'body'],
    ["{'email':'a'}", 'body'],
    ['\ufeff{"email":"a","password":"b"}', 'body'],
    ['null', 'body'],
    ['[]', 'body'],
    ['"text"', 'body'],
    ['5', 'body'],
    ['{} {}', 'body'],
    ['{"email":"a"}', 'password'],
    ['{"password":"a"}', 'email'],
    ['{"email":"a","password":"b","admin":true}', 'admin'],
    ['{"email":"a","password":"b","Email":"c"}', 'Email'],
    ['{"email":"a","password":"b","__proto__":{"x":1}}', '__proto__'],
    ['{"email":"a","password":"b","constructor":{"prototype":{"x":1}}}', 'constructor'],
    ['{"__proto__":{"email":"a","password":"b"}}', '__proto__'],
    ['{"email":"a","password":"b","email":"c"}', 'body'],
    ['{"email":"a","password":"b","passwor\\u0064":"c"}', 'body'],
    ['{"email":null,"password":"b"}', 'email'],
    ['{"email":true,"password":"b"}', 'email'],
    ['{"email":5,"password":"b"}', 'email'],
    ['{"email":["a"],"password":"b"}', 'email'],
    ['{"email":{"$gt":""},"password":"b"}', 'email'],
    ['{"email":"a","password":12345678}', 'password'],
    ['{"email":"a","password":null}', 'password'],
    [`{"email":"${'a'.repeat(255)}","password":"b"}`, 'email'],
    ['{"email":"a","password":"\\ud800"}', 'body'],
    ['{"email":"\\udc00a","password":"b"}', 'body'],
    ['{"email":"a","password":"b","\\ud800":"c"}', 'body'],
    [latin1('{"email":"a","password":"\xff"}'), 'body'],
    [latin1('{"email":"a","password":"\xc0\x80"}'), 'body'],
    [latin1('{"email":"a","password":"\xed\xa0\x80"}'), 'body'],
    [latin1('{"email":"a","password":"\xf4\x90\x80\x80"}'), 'body'],
    [Buffer.from(valid, 'utf16le'), 'body'],
    ['[{"a":'.repeat(2000), 'body'],
    ['['.repeat(8000) + ']'.repeat(8000), 'body']
  ]
  for (const url of ['/reg', '/auth']) {
    for (const [body, field] of bodies) {
      const what = `${url} ${String(body).slice(0, 60)}`
      const problem = requireForm(t, await post(url, body), 400, what)
      t.ok(
        problem.errors?.some((error: { field: string }) => error.field === field),
        `${what}: ${JSON.stringify(problem.errors)}`
      )
    }
  }
  t.equal(calls, 0)
  t.equal(({} as { x?: number }).x, undefined)
})

t.test('repeats no value of the body, and names at most 20 fields', async (t) => {
  for (const body of ['{"email":5,"password":"hunter2"}', '{"email":"hunter2","password":["hunter2"]}', 'hunter2{']) {
    t.notMatch((await post('/auth', body)).body, /hunter2/)
  }
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`k${index}`, 1]))
  const problem = requireForm(t, await post('/reg', JSON.stringify(many)), 400)
  t.ok(problem.errors.length <= 20)
})

t.test('names each invalid field by a JSON pointer', async (t) => {
  const problem = requireForm(t, await post('/reg', '{"email":5,"password":"b","a/b~c":1}'), 400)
  const pointers = Object.fromEntries(problem.errors.map((each: Record<string, string>) => [each.field, each.pointer]))
  t.same(pointers, { email: '#/email', 'a/b~c': '#/a~1b~0c' })
})

t.test('names an invalid document by the pointer of the whole document', async (t) => {
  const problem = requireForm(t, await post('/reg', '[]'), 400)
  t.equal(problem.errors[0].pointer, '#', 'RFC 6901: `#/body` would be a member of that name')
})

t.test('reads a body of 16 KiB, and answers 413 to a larger one', async (t) => {
  const sized = (bytes: number) => {
    const frame = JSON.stringify({ ...credentials, password: '' })
    return JSON.stringify({ ...credentials, password: 'x'.repeat(bytes - frame.length) })
  }
  requireForm(t, await post('/reg', sized(16_384)), 201)
  requireForm(t, await post('/reg', sized(16_385)), 413)
  requireForm(t, await post('/reg', 'x'.repeat(1_000_000)), 413)
  requireForm(t, await post('/reg', `${valid}${' '.repeat(16_384)}`), 413)
})

t.test('accepts only JSON in UTF-8 without a content coding', async (t) => {
  const accepted = [
    json,
    `${json} `,
    'Application/JSON',
    `${json}; charset=utf-8`,
    `${json};charset=UTF-8`,
    `${json} ; charset="utf-8"`
  ]
  for (const type of accepted) requireForm(t, await post('/reg', valid, type), 201, type)
  t.equal(calls, accepted.length)
  calls = 0
  const rejected = [
    'text/plain',
    'text/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/octet-stream',
    'application/xml',
    'application/jsonx',
    'application/json5',
    'application/json+x',
    'application/vnd.api+json',
    'application/problem+json',
    'xapplication/json',
    'text/plain; application/json',
    'text/plain, application/json',
    'application/json, text/plain',
    'application/json/x',
    'application/ json',
    'application/*',
    `${json}; charset=utf-16`,
    `${json};charset=utf-16le`,
    `${json}; charset="utf-16"`,
    `${json}; CHARSET=latin1`,
    `${json};\tcharset=utf-16`,
    `${json}\tx`
  ]
  for (const type of rejected) requireForm(t, await post('/reg', valid, type), 415, JSON.stringify(type))
  const bare = await app.inject({ method: 'POST', url: '/reg', payload: valid, headers: { 'content-type': '' } })
  requireForm(t, bare, 415, 'an empty type')
  for (const coding of ['gzip', 'br', 'identity, gzip', 'GZIP', 'aws-chunked']) {
    const headers = { 'content-type': json, 'content-encoding': coding }
    requireForm(t, await app.inject({ method: 'POST', url: '/reg', payload: valid, headers }), 415, coding)
  }
  t.equal(calls, 0)
})

t.test(
  'validates a body of every content type (CVE-2022-39288, CVE-2025-32442, CVE-2026-25223, CVE-2026-3419)',
  async (t) => {
    const odd = [
      `${json}\t`,
      `${json}\ta`,
      `${json} `,
      `${json};`,
      `${json};;`,
      `${json} a`,
      ` ${json}`,
      `${json};\u0020\t`
    ]
    odd.push('APPLICATION/JSON\t;', `${json}\t;charset=utf-8`, `${json}; a=b`, `${json}; =`, `${json};charset`)
    for (const type of odd) {
      const answer = await post('/reg', '{"email":1,"password":["x"],"admin":true}', type)
      t.ok([400, 415].includes(answer.statusCode), `${JSON.stringify(type)}: ${answer.statusCode}`)
      requireForm(t, answer, answer.statusCode, JSON.stringify(type))
    }
    t.equal(calls, 0)
  }
)

t.test('rejects the content types that a page may send without a preflight (CVE-2022-41919)', async (t) => {
  const essences = ['text/plain', 'multipart/form-data', 'application/x-www-form-urlencoded']
  const disguises = ['', `;${json}`, `; a=${json}`, `; charset=utf-8; ${json}`, `,${json}`, ` ${json}`]
  for (const type of essences.flatMap((essence) => disguises.map((disguise) => essence + disguise))) {
    for (const each of [type, type.toUpperCase()]) requireForm(t, await post('/reg', valid, each), 415, each)
  }
  t.equal(calls, 0)
})

t.test('rejects a request without a body or a content type', async (t) => {
  const bare = await app.inject({ method: 'POST', url: '/reg' })
  t.ok([400, 415].includes(bare.statusCode))
  requireForm(t, bare, bare.statusCode)
  requireForm(t, await post('/reg', undefined), 400)
  t.equal(calls, 0)
})

t.test('answers 404 to an unknown path, and 405 with Allow to a wrong method', async (t) => {
  for (const url of ['/', '/nope', '/Reg', '/reg/', '/reg/x', '//reg', '/session/../x', '/%72eg%00', '/constructor']) {
    requireForm(t, await app.inject({ method: 'GET', url }), 404, url)
  }
  for (const [url, methods] of Map.groupBy(routes, ({ url }) => url)) {
    const allow = methods.map(({ method }) => (method === 'GET' ? 'GET, HEAD' : method)).join(', ')
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'] as const) {
      if (allow.split(', ').includes(method)) continue
      const answer = await app.inject({ method: method as 'GET', url: `${url}?a=b`, headers: newSession().headers })
      requireForm(t, answer, 405, `${method} ${url}`)
      t.equal(answer.headers.allow, allow)
    }
  }
  requireForm(t, await app.inject({ method: 'POST', url: '/openapi.json' }), 405)
  t.equal(calls, 0)
})

t.test('answers 404 to the paths of the ops port', async (t) => {
  for (const url of ['/metrics', '/livez', '/readyz', '/readyz?verbose']) {
    requireForm(t, await app.inject({ method: 'GET', url }), 404, url)
  }
})

t.test('answers 400 to a URL with an invalid percent-encoding', async (t) => {
  for (const url of ['/%', '/%zz', '/session%ff']) requireForm(t, await app.inject({ method: 'GET', url }), 400, url)
})

t.test('answers 404 to a path outside of the documentation', async (t) => {
  for (const url of ['/docs/static/nope.js', '/docs/static/..%2f..%2f..%2fpackage.json']) {
    requireForm(t, await app.inject(url), 404, url)
  }
})
