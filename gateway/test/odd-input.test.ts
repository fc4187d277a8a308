/** Bad input: whatever a body, its type or its path look like, the answer is a problem and no service is called. */

import t from 'tap'
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
const utf8 = (text: string) => Buffer.from(text, 'latin1')

t.test('bodies that are not an address and a password are 400 and name the field', async (t) => {
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
    [utf8('{"email":"a","password":"\xff"}'), 'body'],
    [utf8('{"email":"a","password":"\xc0\x80"}'), 'body'],
    [utf8('{"email":"a","password":"\xed\xa0\x80"}'), 'body'],
    [utf8('{"email":"a","password":"\xf4\x90\x80\x80"}'), 'body'],
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

t.test('a problem never repeats the value that it is about', async (t) => {
  for (const body of ['{"email":5,"password":"hunter2"}', '{"email":"hunter2","password":["hunter2"]}', 'hunter2{']) {
    t.notMatch((await post('/auth', body)).body, /hunter2/)
  }
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`k${index}`, 1]))
  const problem = requireForm(t, await post('/reg', JSON.stringify(many)), 400)
  t.ok(problem.errors.length <= 20)
})

t.test('each field at fault has a JSON pointer that finds it', async (t) => {
  const problem = requireForm(t, await post('/reg', '{"email":5,"password":"b","a/b~c":1}'), 400)
  const pointers = Object.fromEntries(problem.errors.map((each: Record<string, string>) => [each.field, each.pointer]))
  t.same(pointers, { email: '#/email', 'a/b~c': '#/a~1b~0c' })
})

t.test('the pointer of a body that is wrong as a whole is the whole document', async (t) => {
  const problem = requireForm(t, await post('/reg', '[]'), 400)
  t.equal(problem.errors[0].pointer, '#', 'RFC 6901: `#/body` would be a member of that name')
})

t.test('a body of 16 KiB is read, a larger one is 413', async (t) => {
  const sized = (bytes: number) => {
    const frame = JSON.stringify({ ...credentials, password: '' })
    return JSON.stringify({ ...credentials, password: 'x'.repeat(bytes - frame.length) })
  }
  requireForm(t, await post('/reg', sized(16_384)), 201)
  requireForm(t, await post('/reg', sized(16_385)), 413)
  requireForm(t, await post('/reg', 'x'.repeat(1_000_000)), 413)
  requireForm(t, await post('/reg', `${valid}${' '.repeat(16_384)}`), 413)
})

t.test('only JSON in UTF-8 is taken', async (t) => {
  const taken = [
    json,
    `${json} `,
    'Application/JSON',
    `${json}; charset=utf-8`,
    `${json};charset=UTF-8`,
    `${json} ; charset="utf-8"`
  ]
  for (const type of taken) requireForm(t, await post('/reg', valid, type), 201, type)
  t.equal(calls, taken.length)
  calls = 0
  const refused = [
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
  for (const type of refused) requireForm(t, await post('/reg', valid, type), 415, JSON.stringify(type))
  const bare = await app.inject({ method: 'POST', url: '/reg', payload: valid, headers: { 'content-type': '' } })
  requireForm(t, bare, 415, 'an empty type')
  t.equal(calls, 0)
})

t.test('no type of content makes an invalid body pass (CVE-2022-39288, CVE-2025-32442, CVE-2026-25223)', async (t) => {
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
})

t.test('a request without a body or a type is refused', async (t) => {
  const bare = await app.inject({ method: 'POST', url: '/reg' })
  t.ok([400, 415].includes(bare.statusCode))
  requireForm(t, bare, bare.statusCode)
  requireForm(t, await post('/reg', undefined), 400)
  t.equal(calls, 0)
})

t.test('an unknown path is 404, a wrong method 405 with what is allowed', async (t) => {
  for (const url of ['/', '/nope', '/Reg', '/reg/', '/reg/x', '//reg', '/session/../x', '/%72eg%00', '/constructor']) {
    requireForm(t, await app.inject({ method: 'GET', url }), 404, url)
  }
  const allowed = { '/reg': 'POST', '/auth': 'POST', '/session': 'GET, HEAD', '/logout': 'DELETE', '/delete': 'DELETE' }
  for (const [url, allow] of Object.entries(allowed)) {
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

t.test('a URL that cannot be read is 400', async (t) => {
  for (const url of ['/%', '/%zz', '/session%ff']) requireForm(t, await app.inject({ method: 'GET', url }), 400, url)
})
