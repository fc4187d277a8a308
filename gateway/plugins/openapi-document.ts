/** Completes the OpenAPI document of @fastify/swagger for generators: shared responses and headers, and examples. */

import { headerSchemas, problemResponses } from '../responses.ts'

interface Schema {
  $ref?: string
  type?: string
  examples?: unknown[]
  properties?: Record<string, Schema>
  items?: Schema
}
interface Media {
  schema?: Schema
  example?: unknown
}
interface Response {
  $ref?: string
  description?: string
  headers?: Record<string, object>
  content?: Record<string, Media>
}
interface Operation {
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, Response>
}
export interface Document {
  paths: Record<string, Record<string, Operation>>
  components: {
    schemas: Record<string, Schema>
    responses?: Record<string, Response>
    headers?: Record<string, object>
  }
}

const problemType = 'application/problem+json'
/** The headers of every response. */
const commonHeaders = ['X-Request-Id', 'traceparent', 'RateLimit', 'RateLimit-Policy']

const headerReferences = (names: string[]) =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))

/** Completes a document in place. */
export function completeDocument(document: Document): Document {
  const { paths, components } = document
  components.headers = Object.fromEntries(
    Object.entries(headerSchemas).map(([name, { description, ...schema }]) => [name, { description, schema }])
  )
  components.responses = Object.fromEntries(
    Object.values(problemResponses).map(({ name, description, headers, example }) => [
      name,
      {
        description,
        headers: headerReferences([...commonHeaders, ...headers]),
        content: { [problemType]: { schema: { $ref: '#/components/schemas/Problem' }, example } }
      }
    ])
  )
  for (const operation of Object.values(paths).flatMap(Object.values) as Operation[]) {
    operation.responses = Object.fromEntries(
      Object.entries(operation.responses)
        .filter(([status]) => status !== '4XX')
        .map(([status, response]) => sharedOrCompleted(status === '5XX' ? 'default' : status, response))
    )
    for (const { content = {} } of [operation.requestBody ?? {}, ...Object.values(operation.responses)] as Response[]) {
      for (const media of Object.values(content)) media.example ??= exampleOf(media.schema ?? {}, components.schemas)
    }
  }
  return document
}

/** The response of a status: a component if every route has the same. */
function sharedOrCompleted(status: string, response: Response): [status: string, Response] {
  const shared = problemResponses[status]
  if (shared !== undefined) return [status, { $ref: `#/components/responses/${shared.name}` }]
  const { description = '', headers = {}, content } = response
  const names = [...commonHeaders, ...Object.keys(headers)]
  return [status, { description, headers: headerReferences(names), ...(content && { content }) }]
}

/** The example of a schema, from those of its properties. */
function exampleOf(schema: Schema, schemas: Record<string, Schema>): unknown {
  const { examples, properties, items } = schemas[schema.$ref?.split('/').at(-1) ?? ''] ?? schema
  if (examples !== undefined) return examples[0]
  if (items !== undefined) return [exampleOf(items, schemas)]
  return Object.fromEntries(
    Object.entries(properties ?? {}).map(([name, property]) => [name, exampleOf(property, schemas)])
  )
}

/** The document for Swagger UI: of the problems, only `default` has a body, so that each operation shows it once. */
export function foldProblems(document: Document): Document {
  const { default: any } = problemResponses
  const responses = Object.entries(document.components.responses ?? {})
  const operations = Object.values(document.paths).flatMap(Object.values) as Operation[]
  for (const [name, response] of responses) if (name !== any?.name) delete response.content
  for (const { responses } of operations) delete responses[403]?.content
  return document
}
