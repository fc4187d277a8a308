/** The OpenAPI description: valid 3.1, complete, and equal to what the routes answer. */

import t from 'tap'
import { requestOf, routes } from './all-routes.ts'
import { buildGateway, newSession, workingServices } from './gateway.ts'

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

/** Replaces each `$ref` by its target. */
function resolveReferences(node: unknown): void {
  if (typeof node !== 'object' || node === null) return
  for (const [key, value] of Object.entries(node) as [keyof typeof node, { $ref?: string } | null][]) {
    const path = value?.$ref?.split('/').slice(1)
    if (path !== undefined) Object.assign(node, { [key]: path.reduce((at, name) => at[name], document) })
    else resolveReferences(value)
  }
}

const user = newSession()
const { headers } = user
const { app } = await buildGateway(t, workingServices(user))
const answer = await app.inject('/openapi.json')
const document = answer.json()
resolveReferences(document)
const operations: [path: string, method: string, operation: Operation][] = Object.entries(
  document.paths as Record<string, Record<string, Operation>>
).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]): [string, string, Operation] => [path, method, operation])
)

t.test('is JSON of version 3.1 with a title, a version and a licence', async (t) => {
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

t.test('declares every route of the product, with the problems that its kind can answer', async (t) => {
  const described = operations.filter(([, method]) => method !== 'head')
  t.same(
    described.map(([path, method]) => `${method.toUpperCase()} ${path}`).sort(),
    routes.map(({ name }) => name).sort(),
    'each route needs `config.budgetMs`, a key of `gateway.budgets` in gateway/config.ts'
  )
  for (const { name, method, payload, needsToken, problems } of routes) {
    const kinds = [
      429,
      503,
      ...(payload ? [400, 413, 415] : []),
      ...(needsToken ? [401] : []),
      ...(method === 'GET' ? [] : [504])
    ]
    for (const status of kinds) t.ok(problems.includes(status), `${name} ${status}`)
  }
  for (const [path, method, { summary, description, tags, responses }] of operations) {
    const name = `${method} ${path}`
    t.ok(summary && description && tags.length > 0, name)
    for (const [status, response] of Object.entries(responses)) {
      t.match(status, /^([1-5]\d\d|[1-5]XX|default)$/, `${name}: a status or a range as the standard writes it`)
      t.ok(response.description, `${name} ${status}`)
      const types = Object.keys(response.content ?? {})
      const isEmpty = status === '204' || (status === '202' && path !== '/reg')
      if (status.startsWith('2')) t.same(types, isEmpty ? [] : ['application/json'], `${name} ${status}`)
      else t.same(types, ['application/problem+json'], `${name} ${status}`)
    }
  }
})

t.test('has examples of bodies and responses that fit their schemas', async (t) => {
  const check = (schema: JsonSchema, where: string): void => {
    t.equal(schema.nullable, undefined, `${where}: 3.0 only`)
    for (const [name, property] of Object.entries(schema.properties ?? {})) check(property, `${where}/${name}`)
    for (const name of schema.required ?? []) t.ok(schema.properties?.[name], `${where}/${name} is described`)
    if (schema.type !== 'object' && schema.type !== 'array' && !where.includes('problem')) {
      const examples = schema.examples ?? (schema.example === undefined ? [] : [schema.example])
      t.ok(examples.length > 0, `${where} has an example`)
      const type = schema.type === 'integer' ? 'number' : schema.type
      t.ok(
        examples.every((example) => typeof example === type),
        `${where}: the examples have the type of the schema`
      )
    }
  }
  for (const [path, method, { requestBody, responses }] of operations) {
    const { payload } = routes.find(({ name }) => name === `${method.toUpperCase()} ${path}`) ?? {}
    if (payload !== undefined) {
      t.same(Object.keys(requestBody?.content ?? {}), ['application/json'])
      t.equal(requestBody?.required, true, `${path}: the body is required`)
    }
    const media = [requestBody, ...Object.values(responses)].flatMap((part) => Object.entries(part?.content ?? {}))
    for (const [type, { schema }] of media) check(schema, `${method} ${path} ${type}`)
  }
})

t.test('declares the credential of each route that answers 401 without one', async (t) => {
  const schemes = document.components.securitySchemes
  t.match(schemes, {
    bearer: { type: 'http', scheme: 'bearer' },
    cookie: { type: 'apiKey', in: 'cookie', name: '__Host-session' }
  })
  for (const [path, , { security = [] }] of operations) {
    for (const scheme of security.flatMap(Object.keys)) t.ok(schemes[scheme], `${path}: ${scheme}`)
  }
  for (const route of routes) {
    const { statusCode } = await app.inject(requestOf(route))
    t.equal(statusCode === 401, route.needsToken, route.name)
  }
})

t.test('describes exactly the fields that the routes answer', async (t) => {
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
  const requests = [
    ...routes.map((route) => ({ name: route.name, request: requestOf(route, headers) })),
    { name: 'POST /reg', request: { method: 'POST' as const, url: '/reg', headers, payload: {} } },
    { name: 'DELETE /logout', request: { method: 'DELETE' as const, url: '/logout', headers: {} } }
  ]
  for (const { name, request } of requests) {
    const answer = await app.inject(request)
    const status = String(answer.statusCode)
    if (answer.body === '') continue
    const [, , { responses }] = operations.find(
      ([path, method]) => name === `${method.toUpperCase()} ${path}`
    ) as (typeof operations)[number]
    const described = responses[status] ?? responses[`${status[0]}XX`]
    const type = String(answer.headers['content-type']).split(';')[0] ?? ''
    t.ok(described?.content?.[type], `${name} ${status} ${type}`)
    fits(described?.content?.[type]?.schema, answer.json(), `${name} ${status}`)
  }
})
