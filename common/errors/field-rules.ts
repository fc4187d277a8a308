/** Rules for request fields that several services share. */

import { type FieldViolation, invalidFields } from './connect-errors.ts'

const canonicalUuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** A field's value in its internal form; undefined or false if the field breaks the rule in `description`. */
export type FieldRule<T = unknown> = FieldViolation & { value: T | undefined | false }

/**
 * Checks all fields of a request.
 *
 * @returns the values, in the order of the rules
 * @throws ConnectError `invalid_argument` that names every field without a value
 */
export function requireFields<T extends unknown[]>(...rules: { [K in keyof T]: FieldRule<T[K]> }): T {
  const violations = rules
    .filter(({ value }) => value === undefined || value === false)
    .map(({ field, description, code }) => ({ field, description, code }))
  if (violations.length > 0) throw invalidFields(violations)
  return rules.map(({ value }) => value) as T
}

/** The rule for a user id. */
export function uuidRule(field: string, value: string): FieldRule<string> {
  const description = 'must be a UUID in its canonical lower-case form'
  return { field, value: canonicalUuid.test(value) && value, description }
}
