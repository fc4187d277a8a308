/** Rules for the fields of session requests. */

import type { FieldRule } from '#common/errors/field-rules.ts'
import { isSessionId } from '#common/session/session-token.ts'

/** The rule for a session id in its external form, as in tokens. */
export function sessionIdRule(field: string, value: string): FieldRule<string> {
  return { field, value: isSessionId(value) && value, description: 'must be the id of a session, 22 characters' }
}

/** The rule for a session id that may be empty. */
export function optionalSessionIdRule(field: string, value: string): FieldRule<string> {
  const isValid = value === '' || isSessionId(value)
  return { field, value: isValid ? value : undefined, description: 'must be empty or the id of a session' }
}

/** The rule for the id of a session that a revocation keeps. @param all whether the revocation ends all sessions */
export function keptSessionIdRule(field: string, value: string, all: boolean): FieldRule<string> {
  if (!all || value === '') return optionalSessionIdRule(field, value)
  return { field, value: undefined, description: 'must be empty if all sessions end: with `all` or the epoch 0' }
}

/** The rule for a session epoch. */
export function epochRule(field: string, value: bigint, max: bigint): FieldRule<bigint> {
  const isInRange = value >= 0n && value <= max
  return { field, value: isInRange ? value : undefined, description: `must be from 0 to ${max}` }
}
