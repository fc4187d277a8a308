/** The tables of the REST routes, from the OpenAPI document. */

/** The parts of an OpenAPI document that the page shows. */
export interface OpenApi {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema>; responses: Record<string, Response> }
}

interface Operation {
  summary: string
  description: string
  security?: Record<string, unknown>[]
  parameters?: Parameter[]
  requestBody?: Body
  responses: Record<string, Response>
}

interface Parameter {
  in: string
  name: string
  required?: boolean
  description?: string
}

interface Response extends Body {
  /** `#/components/responses/<name>`. */
  $ref?: string
  description: string
}

interface Body {
  content?: Record<string, { schema: Schema }>
}

interface Schema {
  /** `#/components/schemas/<name>`. */
  $ref?: string
  items?: Schema
  type?: string
  format?: string
  description?: string
  required?: string[]
  properties?: Record<string, Schema>
}

/** A table of all routes, then one section for each: its request and its responses. */
export function restReference(document: OpenApi): string {
  return [
    routeTable(document),
    ...routesOf(document).map(({ name, operation }) => section(name, operation, document))
  ].join('\n\n')
}

function routesOf({ paths }: OpenApi) {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => method !== 'head')
      .map(([method, operation]) => {
        const name = `${method.toUpperCase()} ${path}`
        if (!operation.summary || !operation.description)
          throw new Error(`${name} has no schema with summary and description`)
        return { name, operation }
      })
  )
}

export function routeTable(document: OpenApi): string {
  const rows = routesOf(document).map(({ name, operation: { summary, responses } }) => {
    const statuses = Object.keys(responses).filter((status) => /^\d+$/.test(status))
    return `| \`${name}\` | ${summary} | ${statuses.join(', ')} |`
  })
  return ['| route | effect | statuses |', '|---|---|---|', ...rows].join('\n')
}

function section(name: string, operation: Operation, { components }: OpenApi): string {
  const { summary, description, security = [], parameters = [], requestBody, responses } = operation
  const isRequired = security.length > 0 && security.every((each) => Object.keys(each).length > 0)
  const credential = security.length === 0 ? 'none' : `bearer token or cookie${isRequired ? '' : ', optional'}`
  const rows = Object.entries(responses).map(([status, response]) => {
    const { description, content } = components.responses[nameOf(response)] ?? response
    const [type] = Object.keys(content ?? {})
    return `| ${status} | ${description} | ${type === undefined ? 'none' : `\`${type}\``} |`
  })
  const [success] = Object.values(responses)

  function fieldTable(title: string, body: Body | undefined): string[] {
    const schema = body?.content?.['application/json']?.schema
    if (!schema) return []
    return [title, ['| field | type | meaning |', '|---|---|---|', ...fieldRows(schema, '')].join('\n')]
  }

  function fieldRows(schema: Schema, prefix: string): string[] {
    const { properties = {}, required = [] } = target(schema)
    return Object.entries(properties).flatMap(([name, property]) => {
      const { type = '', format, description = '', items } = target(property)
      const kind = `${format ? `${type} (${format})` : type}${required.includes(name) ? '' : ', optional'}`
      const row = `| \`${prefix}${name}\` | ${kind} | ${description} |`
      return [row, ...fieldRows(items ?? property, `${prefix}${name}${items ? '[]' : ''}.`)]
    })
  }

  const target = (schema: Schema): Schema => components.schemas[nameOf(schema)] ?? schema

  return [
    `## \`${name}\``,
    `${summary}${/[.?!]$/.test(summary) ? '' : '.'} ${description}`,
    `Credential: ${credential}.`,
    ...headerTable(parameters.filter((parameter) => parameter.in === 'header')),
    ...fieldTable('Request body:', requestBody),
    ['| status | meaning | body |', '|---|---|---|', ...rows].join('\n'),
    ...fieldTable('Body of a successful response:', success)
  ].join('\n\n')
}

function headerTable(headers: Parameter[]): string[] {
  if (headers.length === 0) return []
  const rows = headers.map(({ name, required, description = '' }) => {
    return `| \`${name}\` | ${required ? 'yes' : 'no'} | ${description} |`
  })
  return ['Request headers:', ['| header | required | meaning |', '|---|---|---|', ...rows].join('\n')]
}

/** The name of the component that a reference names. */
const nameOf = ({ $ref }: { $ref?: string }) => $ref?.split('/').at(-1) ?? ''
