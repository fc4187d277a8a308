/** The outcome of a validation, decoded from the response of session-svc in either of its forms. */

import { durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt'
import { InvalidReason, type ValidateSessionResponse, type Validation } from '#gen/session/v1/session_pb.ts'

/** The session of a token; times in milliseconds since 1970 (UTC). */
export interface CurrentSession {
  id: string
  userId: string
  createdAt: number
  lastSeenAt: number
  expiresAt: number
  /** In milliseconds, by the clock of session-svc; an older session-svc does not report it. */
  age: number | undefined
}

/** `unknown`: the validity cannot be determined, also because the response is incomplete. It authorises no request. */
export type ValidationOutcome = { kind: 'valid'; session: CurrentSession } | { kind: 'invalid' } | { kind: 'unknown' }

export const invalid: ValidationOutcome = { kind: 'invalid' }
export const unknown: ValidationOutcome = { kind: 'unknown' }

/** Decodes an element of `results`, as a session-svc without `flat` sends it. */
export function decodeResponse({ result }: ValidateSessionResponse): ValidationOutcome {
  switch (result.case) {
    case 'invalid':
      return invalid
    case 'session': {
      const { id, userId, createdAt, lastSeenAt, expiresAt, age } = result.value
      const times = { createdAt: ms(createdAt), lastSeenAt: ms(lastSeenAt), expiresAt: ms(expiresAt) }
      return validIfComplete({ id, userId, ...times, age: age && durationMs(age) })
    }
    case undefined:
      return unknown
  }
}

/** Decodes an element of `validations`, the flat form. */
export function decodeFlat(message: Validation): ValidationOutcome {
  if (message.invalidReason !== InvalidReason.UNSPECIFIED) return invalid
  const { sessionId: id, userId, createdAtMs: createdAt, lastSeenAtMs: lastSeenAt, expiresAtMs: expiresAt } = message
  return validIfComplete({ id, userId, createdAt, lastSeenAt, expiresAt, age: message.ageMs })
}

function validIfComplete(session: CurrentSession): ValidationOutcome {
  const { id, userId, createdAt, lastSeenAt, expiresAt, age } = session
  const isAge = age === undefined || (age >= 0 && age <= maxTimeMs)
  return id !== '' && userId !== '' && isTime(createdAt) && isTime(lastSeenAt) && isTime(expiresAt) && isAge
    ? { kind: 'valid', session }
    : unknown
}

// The largest time of a Date (ECMA-262, 21.4.1.1).
const maxTimeMs = 8.64e15

/** A field that was not sent is 0. */
function isTime(time: number): boolean {
  return Number.isInteger(time) && time > 0 && time <= maxTimeMs
}

const ms = (timestamp: Timestamp | undefined) => (timestamp === undefined ? 0 : timestampMs(timestamp))
