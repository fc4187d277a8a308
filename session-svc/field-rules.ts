/** Rules for the fields of session requests. */

import type { FieldRule } from '#common/errors/field-rules.ts'
import { isSessionId } from '#common/session/session-token.ts'

/** The rule for a session id in its external form, as in tokens. */
export function sessionIdRule(field: string, value: string): FieldRule<string> {
  return { field, value: isSessionId(value) && value, description: 'must be the id of a session, 22 characters' }
}

/** The rule for a session epoch. */
export function epochRule(field: string, value: bigint, max: bigint): FieldRule<bigint> {
  const isInRange = value >= 0n && value <= max
  return { field, value: isInRange ? value : undefined, description: `must be from 0 to ${max}` }
}
