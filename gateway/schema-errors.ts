/** Translates the errors of schema validation into fields and sentences, without the values. */

import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import type { FieldCode, FieldViolation } from '#common/errors/connect-errors.ts'

const maxProblems = 20

/** The codes of keywords; `invalid` for any other. */
const codes: Record<string, FieldCode> = { type: 'type', maxLength: 'too_long', minLength: 'too_short' }

/** The invalid fields, at most `maxProblems`. */
export function violationsOf(problems: FastifySchemaValidationError[]): FieldViolation[] {
  return problems.slice(0, maxProblems).map(({ keyword, instancePath, params, message }) => {
    const path = instancePath.slice(1)
    const inside = (name: unknown) => [path, String(name)].filter((part) => part !== '').join('/')
    switch (keyword) {
      case 'required':
        return { field: inside(params.missingProperty), code: 'required', description: 'is missing' }
      case 'additionalProperties':
        return { field: inside(params.additionalProperty), code: 'unknown_field', description: 'is not a known field' }
      case 'pattern':
        // Ajv shows the expression; the path parameter of a session is the only text with one.
        return { field: path, description: 'must be the id of a session, 22 characters' }
      default:
        return { field: path === '' ? 'body' : path, code: codes[keyword], description: message ?? 'is not acceptable' }
    }
  })
}
