/** The OpenAPI description: valid 3.1, whole, and true to what the routes answer. */

import t from 'tap'
import { buildGateway, credentials, loginAnswer, newSession } from './gateway.ts'

interface Media {
  schema: JsonSchema
}
interface JsonSchema {
  type?: string
  required?: string[]
  properties?: Record<string, JsonSchema>
  additionalProperties?: boolean
  examples?: unknown[]
  example?: unknown
  nullable?: unknown
  items?: JsonSchema
}
interface Operation {
  summary: string
  description: string
  tags: string[]
  security?: Record<string, unknown[]>[]
  requestBody?: { required?: boolean; content: Record<string, Media> }
  responses: Record<string, { description: string; content?: Record<string, Media> }>
}

const { session, headers } = newSession()
const { app } = await buildGateway(t, {
  users: { registerAndLogin: () => loginAnswer(), authenticateAndLogin: () => loginAnswer() },
  sessions: { validateSession: () => ({ result: { case: 'session', value: session } }) }
})
const answer = await app.inject('/openapi.json')
const document = answer.json()
const operations: [path: string, method: string, operation: Operation][] = Object.entries(
  document.paths as Record<string, Record<string, Operation>>
).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]): [string, string, Operation] => [path, method, operation])
)

t.test('it is JSON, of version 3.1, and says what it describes', async (t) => {
  t.equal(answer.statusCode, 200)
  t.match(answer.headers['content-type'], /^application\/json/)
  t.match(document.openapi, /^3\.1\.\d$/)
  t.match(document.info, { title: /./, version: /^\d+\.\d+\.\d+/, license: { name: 'Apache-2.0' } })
  const { identifier, url } = document.info.license
  t.notOk(identifier && url, 'a licence has an identifier or a URL')
  const known = [
    'openapi',
    'info',
    'jsonSchemaDialect',
    'servers',
    'paths',
    'webhooks',
    'components',
    'security',
    'tags',
    'externalDocs'
  ]
  t.same(
    Object.keys(document).filter((key) => !known.includes(key)),
    []
  )
})

t.test('each route has its answers, and problems for its errors', async (t) => {
  const expected: Record<string, string[]> = {
    'post /reg': ['201', '400', '409', '413', '415', '429', '503', '504'],
    'post /auth': ['200', '400', '401', '413', '415', '429', '503', '504'],
    'get /session': ['200', '401', '429', '503'],
    'delete /logout': ['204', '401', '429', '503', '504'],
    'delete /delete': ['204', '401', '403', '429', '503', '504']
  }
  t.same(
    operations
      .filter(([, method]) => method !== 'head')
      .map(([path, method]) => `${method} ${path}`)
      .sort(),
    Object.keys(expected).sort()
  )
  for (const [path, method, { summary, description, tags, responses }] of operations) {
    const name = `${method} ${path}`
    t.ok(summary && description && tags.length > 0, name)
    for (const status of expected[name] ?? []) t.ok(responses[status], `${name} ${status}`)
    for (const [status, response] of Object.entries(responses)) {
      t.match(status, /^([1-5]\d\d|[1-5]XX|default)$/, `${name}: a status or a range as the standard writes it`)
      t.ok(response.description, `${name} ${status}`)
      const types = Object.keys(response.content ?? {})
      if (status.startsWith('2')) t.same(types, status === '204' ? [] : ['application/json'], `${name} ${status}`)
      else t.same(types, ['application/problem+json'], `${name} ${status}`)
    }
  }
})

t.test('bodies and answers have examples that fit their schema', async (t) => {
  const check = (schema: JsonSchema, where: string): void => {
    t.equal(schema.nullable, undefined, `${where}: 3.0 only`)
    for (const [name, property] of Object.entries(schema.properties ?? {})) check(property, `${where}/${name}`)
    for (const name of schema.required ?? []) t.ok(schema.properties?.[name], `${where}/${name} is described`)
    if (schema.type !== 'object' && schema.type !== 'array' && !where.includes('problem')) {
      const examples = schema.examples ?? (schema.example === undefined ? [] : [schema.example])
      t.ok(examples.length > 0, `${where} has an example`)
      t.ok(examples.every((example) => typeof example === schema.type))
    }
  }
  for (const [path, method, { requestBody, responses }] of operations) {
    if (method === 'post') {
      t.same(Object.keys(requestBody?.content ?? {}), ['application/json'])
      t.equal(requestBody?.required, true, `${path}: the body is required`)
    }
    const media = [requestBody, ...Object.values(responses)].flatMap((part) => Object.entries(part?.content ?? {}))
    for (const [type, { schema }] of media) check(schema, `${method} ${path} ${type}`)
  }
})

t.test('what needs a session says so, by a scheme that is defined', async (t) => {
  const schemes = document.components.securitySchemes
  t.match(schemes, { session: { type: 'http', scheme: 'bearer' } })
  for (const [path, , { security = [] }] of operations) {
    for (const scheme of security.flatMap(Object.keys)) t.ok(schemes[scheme], `${path}: ${scheme}`)
    const needed = security.length > 0 && security.every((each) => Object.keys(each).length > 0)
    t.equal(needed, ['/session', '/logout', '/delete'].includes(path), path)
  }
})

t.test('answers have the fields that are described, and no others', async (t) => {
  const fits = (schema: JsonSchema | undefined, value: unknown, where: string): void => {
    if (schema?.type !== 'object' || typeof value !== 'object' || value === null) return
    const fields = Object.keys(value)
    t.same(
      fields.filter((field) => !schema.properties?.[field]),
      [],
      `${where}: nothing undescribed`
    )
    t.same(
      (schema.required ?? []).filter((field) => !fields.includes(field)),
      [],
      `${where}: nothing missing`
    )
    for (const [field, inner] of Object.entries(value)) fits(schema.properties?.[field], inner, `${where}/${field}`)
  }
  const cases = [
    ['post', '/reg', credentials],
    ['post', '/auth', credentials],
    ['get', '/session', undefined],
    ['post', '/reg', {}],
    ['delete', '/logout', undefined]
  ] as const
  for (const [method, url, payload] of cases) {
    const real = await app.inject({
      method,
      url,
      headers: method === 'post' ? {} : headers,
      ...(payload && { payload })
    })
    const { responses } = document.paths[url][method] as Operation
    const described = responses[real.statusCode] ?? responses[`${String(real.statusCode)[0]}XX`]
    const type = String(real.headers['content-type']).split(';')[0] ?? ''
    t.ok(described?.content?.[type], `${method} ${url} ${real.statusCode} ${type}`)
    fits(described?.content?.[type]?.schema, real.json(), `${method} ${url} ${real.statusCode}`)
  }
})
