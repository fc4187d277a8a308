/** Invalid bodies of every route with a body: each is a problem that names the field and its code, without any upstream call. */

import t from 'tap'
import { UserService } from '#gen/user/v1/user_pb.ts'
import { requestOf, routes } from './all-routes.ts'
import { buildGateway, newSession, requireForm, workingServices } from './gateway.ts'

const user = newSession()
const calls: string[] = []
const users = Object.fromEntries(
  UserService.methods.map(({ localName, name }) => {
    const count = () => {
      calls.push(name)
      return {}
    }
    return [localName, count]
  })
)
const { app } = await buildGateway(t, { ...workingServices(user), users })

const withBody = routes.filter(({ payload }) => payload !== undefined)
const send = ({ method, url }: (typeof routes)[number], payload: string | Buffer, type = 'application/json') =>
  app.inject({ method, url, headers: { ...user.headers, 'content-type': type }, payload })

t.test('a body that is no object of JSON', async (t) => {
  const bodies = ['', '{', '{}x', "{'a':1}", 'null', '[]', '"text"', '5', 'true', '{} {}', '[{"a":'.repeat(2000)]
  for (const route of withBody) {
    const valid = JSON.stringify(route.payload)
    const broken = [
      ...bodies,
      `\ufeff${valid}`,
      `[${valid}]`,
      JSON.stringify(valid),
      valid.replace('{', '{"\\ud800":1,'),
      Buffer.from(valid, 'utf16le'),
      Buffer.from(valid.replace(/"[^"]+"(?=[,}])/, '"\xff"'), 'latin1')
    ]
    for (const body of broken) {
      const problem = requireForm(t, await send(route, body), 400, `${route.name} ${String(body).slice(0, 40)}`)
      t.match(problem.errors, [{ field: 'body', pointer: '#', detail: /./ }])
    }
  }
})

t.test('a missing, a repeated and an unknown field', async (t) => {
  for (const route of withBody) {
    const payload = { ...route.payload }
    for (const field of Object.keys(payload).filter((field) => field !== 'cookie')) {
      const { [field]: _, ...others } = payload
      const missing = requireForm(t, await send(route, JSON.stringify(others)), 400, `${route.name} without ${field}`)
      t.match(missing.errors, [{ field, pointer: `#/${field}`, code: 'required' }])
      const twice = JSON.stringify(payload).replace('{', `{${JSON.stringify(field)}:"x",`)
      const repeated = requireForm(t, await send(route, twice), 400, `${route.name} with ${field} twice`)
      t.match(repeated.errors, [{ field: 'body' }])
    }
    for (const field of ['admin', 'Cookie', 'user_id', 'userId', '__proto__', 'constructor', 'new_password', '']) {
      const text = JSON.stringify(payload).replace('{', `{${JSON.stringify(field)}:{"x":1},`)
      const problem = requireForm(t, await send(route, text), 400, `${route.name} ${field}`)
      t.match(problem.errors, [{ field, code: 'unknown_field' }], `${route.name} ${field}`)
    }
  }
  t.equal(({} as { x?: number }).x, undefined)
})

t.test('a field of another type, without a conversion', async (t) => {
  for (const route of withBody) {
    for (const [field, example] of Object.entries(route.payload ?? {})) {
      const wrong = [null, 5, ['a'], { $gt: '' }, typeof example === 'string' ? true : 'true', 0]
      for (const value of wrong) {
        const body = JSON.stringify({ ...route.payload, [field]: value })
        const problem = requireForm(t, await send(route, body), 400, `${route.name} ${field} ${JSON.stringify(value)}`)
        t.match(problem.errors, [{ field, code: 'type' }])
        t.notMatch(problem.detail, '$gt')
      }
    }
  }
})

t.test('a field that is too long, a body that is too large, and another content type', async (t) => {
  for (const route of withBody) {
    for (const field of ['email', 'token'].filter((field) => field in (route.payload ?? {}))) {
      const body = JSON.stringify({ ...route.payload, [field]: 'a'.repeat(257) })
      const problem = requireForm(t, await send(route, body), 400, `${route.name} ${field}`)
      t.match(problem.errors, [{ field, code: 'too_long' }])
    }
    requireForm(t, await send(route, 'x'.repeat(16_385)), 413, route.name)
    const valid = JSON.stringify(route.payload)
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=utf-16']) {
      requireForm(t, await send(route, valid, type), 415, `${route.name} ${type}`)
    }
  }
})

t.test('a route that needs a session answers 401 before it reads the body', async (t) => {
  for (const route of withBody.filter(({ needsToken }) => needsToken)) {
    const answer = await app.inject({
      ...requestOf(route),
      payload: '{',
      headers: { 'content-type': 'application/json' }
    })
    requireForm(t, answer, 401, route.name)
  }
})

t.test('none of these requests reached user-svc', async (t) => t.same(calls, []))
