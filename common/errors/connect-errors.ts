/** The errors that domain code throws: a Connect code, a sentence that a user may read, and standard details. */

import { create } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts'

/** One field of a request and what is wrong with it. The value itself is never named. */
export interface FieldViolation {
  field: string
  description: string
}

/** The request's fields at fault, with `invalid_argument`. */
export function invalidFields(fieldViolations: FieldViolation[]): ConnectError {
  const sentence = fieldViolations.map(({ field, description }) => `${field}: ${description}`).join('; ')
  return new ConnectError(sentence, Code.InvalidArgument, undefined, [
    { desc: BadRequestSchema, value: create(BadRequestSchema, { fieldViolations }) }
  ])
}

/** Why a call failed, as constants that a program can compare. */
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

/** Certainly not done; try again after a while. */
export function unavailable(sentence: string, afterSeconds = 1, cause?: unknown): ConnectError {
  return new ConnectError(sentence, Code.Unavailable, undefined, [retryInfo(afterSeconds)], cause)
}

const overload = { domain: 'common', reason: 'OVERLOADED' }

/** Refused without a try, because there is more to do than can be done in time: certainly not done. */
export function overloaded(afterSeconds: number): ConnectError {
  const details = [
    { desc: ErrorInfoSchema, value: create(ErrorInfoSchema, { metadata: {}, ...overload }) },
    retryInfo(afterSeconds)
  ]
  return new ConnectError('There is more to do than can be done in time.', Code.Unavailable, undefined, details)
}

/** Whether an error is the refusal of an overloaded service: it is counted, and no failure to look into. */
export function isOverload(error: unknown): boolean {
  return reasonMetadata(error, overload.domain, overload.reason) !== undefined
}

/** Refused because of too many requests; try again after a while. */
export function tooManyRequests(afterSeconds: number): ConnectError {
  const sentence = `There were too many requests. Try again in ${afterSeconds} s.`
  return new ConnectError(sentence, Code.ResourceExhausted, undefined, [retryInfo(afterSeconds)])
}

function retryInfo(afterSeconds: number) {
  const retryDelay = { seconds: BigInt(afterSeconds), nanos: 0 }
  return { desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay }) }
}

/** The fields that an error names, if any. */
export function fieldViolations(error: ConnectError): FieldViolation[] {
  return error
    .findDetails(BadRequestSchema)
    .flatMap((detail) => detail.fieldViolations.map(({ field, description }) => ({ field, description })))
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
