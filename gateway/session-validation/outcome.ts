/** What session-svc says of a token, in whichever form it comes. */

import { type Duration, durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt'
import {
  InvalidReason,
  type ValidateSessionResponse,
  type Validation as ValidationMessage
} from '#gen/session/v1/session_pb.ts'

/** The session that a token stands for; times in milliseconds since 1970 (UTC). */
export interface CurrentSession {
  id: string
  userId: string
  createdAt: number
  lastSeenAt: number
  expiresAt: number
  /** In milliseconds, by the clock of session-svc; an older session-svc does not report it. */
  age: number | undefined
}

/** A session, that there is none, or nothing: it cannot be known, as by a reply that does not say everything. */
export type ValidationOutcome = CurrentSession | 'invalid' | undefined

/** In the form of older servers. */
export function fromResponse({ result }: ValidateSessionResponse): ValidationOutcome {
  if (result.case === 'invalid') return 'invalid'
  if (result.case !== 'session') return undefined
  const { id, userId, createdAt, lastSeenAt, expiresAt, age } = result.value
  const times = { createdAt: ms(createdAt), lastSeenAt: ms(lastSeenAt), expiresAt: ms(expiresAt) }
  return whole({ id, userId, ...times, age: ageMs(age) })
}

/** In the flat form. */
export function fromMessage(message: ValidationMessage): ValidationOutcome {
  if (message.invalidReason !== InvalidReason.UNSPECIFIED) return 'invalid'
  const { sessionId: id, userId, createdAtMs: createdAt, lastSeenAtMs: lastSeenAt, expiresAtMs: expiresAt } = message
  return whole({ id, userId, createdAt, lastSeenAt, expiresAt, age: message.ageMs })
}

/** Half an answer authorises nobody. */
function whole(session: CurrentSession): CurrentSession | undefined {
  const { id, userId, createdAt, lastSeenAt, expiresAt, age } = session
  const isAge = age === undefined || (age >= 0 && age <= maxTimeMs)
  return id !== '' && userId !== '' && isTime(createdAt) && isTime(lastSeenAt) && isTime(expiresAt) && isAge
    ? session
    : undefined
}

// What a Date can hold (ECMA-262, 21.4.1.1).
const maxTimeMs = 8.64e15

/** 0 is what stands where nothing was sent. */
function isTime(time: number): boolean {
  return Number.isInteger(time) && time > 0 && time <= maxTimeMs
}

const ms = (timestamp: Timestamp | undefined) => (timestamp === undefined ? 0 : timestampMs(timestamp))
const ageMs = (age: Duration | undefined) => (age === undefined ? undefined : durationMs(age))
