/** The OpenAPI description as generators of clients need it: names, shared components, headers, examples, and open responses. */

import t from 'tap'
import { routes } from './all-routes.ts'
import { buildGateway, workingServices } from './gateway.ts'

interface Schema {
  $ref?: string
  type?: string
  required?: string[]
  properties?: Record<string, Schema>
  additionalProperties?: unknown
  items?: Schema
}
interface Response {
  $ref?: string
  headers?: Record<string, { $ref: string }>
  content?: Record<string, { schema: Schema; example?: unknown }>
}
interface Operation {
  operationId: string
  security?: Record<string, unknown>[]
  requestBody?: Response
  responses: Record<string, Response>
}

const { app } = await buildGateway(t, workingServices())
const document = (await app.inject('/openapi.json')).json()
const { schemas, responses, headers } = document.components as {
  schemas: Record<string, Schema>
  responses: Record<string, Response>
  headers: Record<string, { description: string; schema: Schema }>
}
const operations = Object.entries(document.paths as Record<string, Record<string, Operation>>).flatMap(
  ([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, ...operation }))
)

const nameOf = ($ref = '') => String($ref.split('/').at(-1))
const responseOf = (response: Response): Response =>
  response.$ref ? (responses[nameOf(response.$ref)] ?? {}) : response

t.test('names each operation as a function of a client', async (t) => {
  const names = Object.fromEntries(operations.map(({ name, operationId }) => [name, operationId]))
  t.same(names, {
    'POST /reg': 'register',
    'POST /auth': 'logIn',
    'DELETE /logout': 'logOut',
    'DELETE /delete': 'deleteAccount',
    'GET /session': 'getSession',
    'GET /account': 'getAccount',
    'PUT /password': 'changePassword',
    'POST /password/reset': 'requestPasswordReset',
    'PUT /password/reset': 'resetPassword',
    'PUT /email': 'changeEmail',
    'POST /email/verification': 'requestEmailVerification',
    'PUT /email/verification': 'verifyEmail',
    'GET /sessions': 'listSessions',
    'DELETE /sessions': 'endOtherSessions',
    'DELETE /sessions/{id}': 'endSession'
  })
})

t.test('every object is a named component, so that no generator invents a name', async (t) => {
  for (const name of ['User', 'Session', 'Problem', 'FieldError']) t.ok(schemas[name], name)
  const flat = (schema: Schema, where: string): void => {
    const { $ref, type, items } = schema
    if (items !== undefined) flat(items, `${where}[]`)
    else t.ok($ref ? schemas[nameOf($ref)] : type !== 'object', where)
  }
  for (const { name, requestBody, responses } of operations) {
    for (const part of [requestBody ?? {}, ...Object.values(responses).map(responseOf)]) {
      for (const { schema } of Object.values(part.content ?? {})) t.ok(schemas[nameOf(schema.$ref)], name)
    }
  }
  for (const [name, { properties = {} }] of Object.entries(schemas)) {
    for (const [field, schema] of Object.entries(properties)) flat(schema, `${name}.${field}`)
  }
  t.match(schemas.FieldError?.required, ['field', 'pointer', 'code', 'detail'])
})

t.test('responses are open to new fields, requests are not', async (t) => {
  const requests = new Set(
    operations.flatMap(({ requestBody }) =>
      Object.values(requestBody?.content ?? {}).map(({ schema }) => nameOf(schema.$ref))
    )
  )
  t.ok(requests.size > 0)
  for (const [name, { additionalProperties }] of Object.entries(schemas)) {
    t.equal(additionalProperties, requests.has(name) ? false : undefined, name)
  }
})

t.test('declares the headers of responses', async (t) => {
  for (const [name, { description, schema }] of Object.entries(headers)) t.ok(description && schema.type, name)
  const declared = (response: Response) => Object.keys(responseOf(response).headers ?? {})
  for (const { name, responses, security } of operations) {
    for (const [status, response] of Object.entries(responses)) {
      const found = declared(response)
      for (const header of ['X-Request-Id', 'traceparent', 'RateLimit', 'RateLimit-Policy']) {
        t.ok(found.includes(header), `${name} ${status} ${header}`)
      }
      for (const { $ref } of Object.values(responseOf(response).headers ?? {})) t.ok(headers[nameOf($ref)], $ref)
      t.equal(found.includes('Retry-After'), status === '429' || status === '503', `${name} ${status}`)
      t.equal(found.includes('WWW-Authenticate'), status === '401', `${name} ${status}`)
    }
    t.equal(security !== undefined && '401' in responses, security !== undefined, name)
  }
  const successes = Object.fromEntries(
    operations.map(({ operationId, responses }) => [operationId, Object.values(responses)[0]])
  )
  for (const id of ['register', 'logIn', 'logOut', 'deleteAccount', 'changePassword', 'endSession']) {
    t.ok(declared(successes[id] as Response).includes('Set-Cookie'), id)
  }
  for (const name of ['X-User-Id', 'X-Session-Id'])
    t.ok(declared(successes.getSession as Response).includes(name), name)
})

t.test('has one example of each body, which its schema accepts', async (t) => {
  const fits = (schema: Schema, value: unknown, where: string): void => {
    const { type, required = [], properties = {}, items } = schema.$ref ? (schemas[nameOf(schema.$ref)] ?? {}) : schema
    if (type === 'array') {
      t.ok(Array.isArray(value) && value.length === 1, where)
      for (const item of value as unknown[]) fits(items ?? {}, item, `${where}[]`)
    } else if (type === 'object') {
      const fields = value as Record<string, unknown>
      for (const field of required) t.ok(field in fields, `${where}.${field}`)
      for (const [field, inner] of Object.entries(fields)) {
        t.ok(properties[field], `${where}.${field} is described`)
        fits(properties[field] ?? {}, inner, `${where}.${field}`)
      }
    } else t.equal(typeof value, type === 'integer' ? 'number' : type, where)
  }
  for (const { name, requestBody, responses } of operations) {
    for (const [status, part] of [['body', requestBody ?? {}] as const, ...Object.entries(responses)]) {
      for (const { schema, example } of Object.values(responseOf(part).content ?? {})) {
        fits(schema, example, `${name} ${status}`)
        const { status: shown = Number(status) } = example as { status?: number }
        if (/^[45]\d\d$/.test(status)) t.equal(shown, Number(status), `${name} ${status}`)
      }
    }
  }
})

t.test('has servers, and both credentials on each route that needs a session', async (t) => {
  t.same(
    document.servers.map(({ url }: { url: string }) => url),
    ['/']
  )
  for (const { name, needsToken } of routes) {
    const { security = [] } = operations.find((each) => each.name === name) ?? {}
    if (needsToken) t.same(security, [{ bearer: [] }, { cookie: [] }], name)
    else t.ok(security.length === 0 || security.some((scheme) => Object.keys(scheme).length === 0), name)
  }
})

t.test('Swagger UI shows the name of the product, and the body of problems once for each operation', async (t) => {
  t.match((await app.inject('/docs/')).body, /<title>auth-backend<\/title>/)
  t.match(document.info.title, /^auth-backend: /)
  const shown = (await app.inject('/docs/json')).json()
  for (const { name, responses } of operations) {
    const [method = '', path = ''] = name.split(' ')
    const folded = shown.paths[path][method.toLowerCase()].responses
    t.same(Object.keys(folded), Object.keys(responses), `${name}: every status is shown`)
    const withBody = Object.entries(folded as Record<string, Response>).filter(([status, response]) => {
      const { content } = response.$ref ? shown.components.responses[nameOf(response.$ref)] : response
      return !status.startsWith('2') && content !== undefined
    })
    t.same(
      withBody.map(([status]) => status),
      ['default'],
      name
    )
  }
})
