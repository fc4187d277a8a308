/** Encodes sessions and results of validations as messages of `session.v1`. */

import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { ListedSession, Session, ValidationResult } from './session-types.ts'

/** The message `Session`. */
export function sessionMessage({ id, userId, createdAt, lastSeenAt, expiresAt, age }: Session) {
  return {
    id,
    userId,
    createdAt: timestampFromMs(createdAt),
    lastSeenAt: timestampFromMs(lastSeenAt),
    expiresAt: timestampFromMs(expiresAt),
    age: durationFromMs(age)
  }
}

/** The message `Session` in a list. */
export function listedSessionMessage(session: ListedSession, currentSessionId: string) {
  return { ...sessionMessage(session), userAgent: session.userAgent, current: session.id === currentSessionId }
}

/** The message `ValidateSessionResponse`. */
export function validationResponse(validation: ValidationResult) {
  switch (validation.kind) {
    case 'valid':
      return { result: { case: 'session' as const, value: sessionMessage(validation.session) } }
    case 'invalid':
      return { result: { case: 'invalid' as const, value: { reason: validation.reason } } }
    case 'unknown':
      return {}
  }
}

/** The message `Validation`, the flat form of the same. */
export function flatValidation(validation: ValidationResult) {
  switch (validation.kind) {
    case 'valid': {
      const { id, userId, createdAt, lastSeenAt, expiresAt, age } = validation.session
      const times = { createdAtMs: createdAt, lastSeenAtMs: lastSeenAt, expiresAtMs: expiresAt, ageMs: age }
      return { sessionId: id, userId, ...times }
    }
    case 'invalid':
      return { invalidReason: validation.reason }
    case 'unknown':
      return {}
  }
}
