/** Translates the errors of schema validation into fields and sentences, without the values. */

import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import type { FieldViolation } from '#common/errors/connect-errors.ts'

const maxProblems = 20

/** The invalid fields, at most `maxProblems`. */
export function violationsOf(problems: FastifySchemaValidationError[]): FieldViolation[] {
  return problems.slice(0, maxProblems).map(({ keyword, instancePath, params, message }) => {
    const path = instancePath.slice(1)
    const inside = (name: unknown) => [path, String(name)].filter((part) => part !== '').join('/')
    switch (keyword) {
      case 'required':
        return { field: inside(params.missingProperty), description: 'is missing' }
      case 'additionalProperties':
        return { field: inside(params.additionalProperty), description: 'is not a known field' }
      default:
        return { field: path === '' ? 'body' : path, description: message ?? 'is not acceptable' }
    }
  })
}
