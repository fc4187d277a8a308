/** The errors that domain code throws: a Connect code, a message that users may read, and standard details. */

import { create } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts'

/** The stable codes of invalid fields, which applications can translate. */
export const fieldCodes = [
  'invalid',
  'required',
  'unknown_field',
  'type',
  'too_short',
  'too_long',
  'too_common',
  'too_simple',
  'same_as_address',
  'service_name',
  'breached',
  'unchanged'
] as const
export type FieldCode = (typeof fieldCodes)[number]

/** A field of a request and the rule that it breaks. The value is never included. */
export interface FieldViolation {
  field: string
  description: string
  /** Default: `invalid`. */
  code?: FieldCode | undefined
}

/** `invalid_argument` with the invalid fields. */
export function invalidFields(violations: FieldViolation[]): ConnectError {
  const sentence = violations.map(({ field, description }) => `${field}: ${description}`).join('; ')
  const fieldViolations = violations.map(({ field, description, code = 'invalid' }) => {
    return { field, description, reason: code.toUpperCase() }
  })
  return new ConnectError(sentence, Code.InvalidArgument, undefined, [
    { desc: BadRequestSchema, value: create(BadRequestSchema, { fieldViolations }) }
  ])
}

/** The reason of a failure as constants for programs. */
export interface Reason {
  /** The package of the contract that defines the reason. */
  domain: string
  /** In UPPER_SNAKE_CASE. */
  reason: string
  metadata?: Record<string, string>
}

/** An error with a reason. */
export function errorWithReason(code: Code, sentence: string, reason: Reason): ConnectError {
  return new ConnectError(sentence, code, undefined, [
    { desc: ErrorInfoSchema, value: create(ErrorInfoSchema, { metadata: {}, ...reason }) }
  ])
}

/** Not applied; the caller may retry after `afterSeconds`. */
export function unavailable(sentence: string, afterSeconds = 1, cause?: unknown): ConnectError {
  return new ConnectError(sentence, Code.Unavailable, undefined, [retryInfo(afterSeconds)], cause)
}

/** Not applied, because a backing service or another service is down. */
export function dependencyDown(cause?: unknown): ConnectError {
  return unavailable('A dependency of this service is unavailable.', 1, cause)
}

const overload = { domain: 'common', reason: 'OVERLOADED' }

/** Shed: the work that is queued would not finish within its deadline. Not applied. `metadata` names the class that was shed. */
export function overloaded(afterSeconds: number, metadata: Record<string, string> = {}): ConnectError {
  const details = [
    { desc: ErrorInfoSchema, value: create(ErrorInfoSchema, { metadata, ...overload }) },
    retryInfo(afterSeconds)
  ]
  return new ConnectError('The service is overloaded.', Code.Unavailable, undefined, details)
}

/** Whether an overloaded service rejected the call. */
export function isOverload(error: unknown): boolean {
  return reasonMetadata(error, overload.domain, overload.reason) !== undefined
}

/** Rejected by a rate limit; the caller may retry after `afterSeconds`. */
export function tooManyRequests(afterSeconds: number): ConnectError {
  const sentence = `There were too many requests. Try again in ${afterSeconds} s.`
  return new ConnectError(sentence, Code.ResourceExhausted, undefined, [retryInfo(afterSeconds)])
}

function retryInfo(afterSeconds: number) {
  const retryDelay = { seconds: BigInt(afterSeconds), nanos: 0 }
  return { desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay }) }
}

/** The invalid fields that an error names, if any. A code of a later version counts as `invalid`. */
export function fieldViolations(error: ConnectError): (FieldViolation & { code: FieldCode })[] {
  return error.findDetails(BadRequestSchema).flatMap((detail) =>
    detail.fieldViolations.map(({ field, description, reason }) => {
      const code = fieldCodes.find((each) => each.toUpperCase() === reason) ?? 'invalid'
      return { field, description, code }
    })
  )
}

/** The reason of an error in a domain, if it has one. */
export function reasonOf(error: ConnectError, domain: string): string | undefined {
  return error.findDetails(ErrorInfoSchema).find((detail) => detail.domain === domain)?.reason
}

/** The metadata of an error's reason, or nothing if it does not carry that reason. */
export function reasonMetadata(error: unknown, domain: string, reason: string): Record<string, string> | undefined {
  if (!(error instanceof ConnectError)) return undefined
  return error.findDetails(ErrorInfoSchema).find((detail) => detail.domain === domain && detail.reason === reason)
    ?.metadata
}

/** The shortest time to wait before another attempt, in whole seconds, if the error says so. */
export function retryAfterSeconds(error: ConnectError): number | undefined {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay
  return delay && Number(delay.seconds) + (delay.nanos > 0 ? 1 : 0)
}
