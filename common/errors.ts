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

/** An error with a reason that a program can compare. */
export function reasoned(code: Code, sentence: string, domain: string, reason: string): ConnectError {
  return new ConnectError(sentence, code, undefined, [
    { desc: ErrorInfoSchema, value: create(ErrorInfoSchema, { reason, domain }) }
  ])
}

/** Certainly not done; try again after a while. */
export function unavailable(sentence: string, retryAfterSeconds = 1, cause?: unknown): ConnectError {
  const retryDelay = { seconds: BigInt(retryAfterSeconds), nanos: 0 }
  const value = create(RetryInfoSchema, { retryDelay })
  return new ConnectError(sentence, Code.Unavailable, undefined, [{ desc: RetryInfoSchema, value }], cause)
}

/** The fields that an error names, if any. */
export function fieldViolations(error: ConnectError): FieldViolation[] {
  return error
    .findDetails(BadRequestSchema)
    .flatMap((detail) => detail.fieldViolations.map(({ field, description }) => ({ field, description })))
}

/** Whether an error carries a reason. */
export function hasReason(error: unknown, domain: string, reason: string): boolean {
  return (
    error instanceof ConnectError &&
    error.findDetails(ErrorInfoSchema).some((detail) => detail.domain === domain && detail.reason === reason)
  )
}

/** The shortest time to wait before another attempt, in whole seconds, if the error says so. */
export function retryAfterSeconds(error: ConnectError): number | undefined {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay
  return delay && Number(delay.seconds) + (delay.nanos > 0 ? 1 : 0)
}
