/** Checks of request fields that several services make. */

import { type FieldViolation, invalidFields } from './connect-errors.ts'

const canonicalUuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** A rule that a field must hold, and what to say when it does not. */
export type FieldRule = FieldViolation & { holds: boolean }

/** Throws `invalid_argument` that names every field whose rule does not hold. */
export function requireFields(...rules: FieldRule[]): void {
  const violations = rules.filter(({ holds }) => !holds).map(({ field, description }) => ({ field, description }))
  if (violations.length > 0) throw invalidFields(violations)
}

/** The rule for a user id. */
export function uuidRule(field: string, value: string): FieldRule {
  return { field, holds: canonicalUuid.test(value), description: 'must be a UUID in its canonical lower-case form' }
}

/** The rule for a session's id, as tokens give it. */
export function sessionIdRule(field: string, value: string): FieldRule {
  return { field, holds: /^[\w-]{22}$/.test(value), description: 'must be the id of a session, 22 characters' }
}

/** The rule for a session epoch. */
export function epochRule(field: string, value: bigint, max: bigint): FieldRule {
  return { field, holds: value >= 0n && value <= max, description: `must be from 0 to ${max}` }
}
