/** Renames the fields that an upstream rejects, `new_password`, to the fields of the request, `newPassword`. */

import { Code, ConnectError, type Transport } from '@connectrpc/connect'
import { fieldViolations, invalidFields } from '#common/errors/connect-errors.ts'

const jsonName = (field: string) => field.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

/** The transport, with the names of JSON in its errors. */
export function withJsonNames(transport: Transport): Transport {
  return {
    unary: (...call) =>
      transport.unary(...call).catch((error) => {
        throw renamed(error)
      }),
    stream: (...call) => transport.stream(...call)
  }
}

function renamed(error: unknown): unknown {
  if (!(error instanceof ConnectError) || error.code !== Code.InvalidArgument) return error
  const violations = fieldViolations(error)
  if (violations.length === 0) return error
  return invalidFields(violations.map(({ field, ...violation }) => ({ field: jsonName(field), ...violation })))
}
