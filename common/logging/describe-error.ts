/** The loggable part of an error: never what a user sent. */

import { ConnectError } from '@connectrpc/connect'
import { codeName } from '#common/errors/codes.ts'
import { engineReason } from '#common/errors/engine-reason.ts'

/** A description of an error, as `log.v1.LogError` documents it. */
interface ErrorDescription {
  type: string
  code?: string | number
  message?: string
  stack?: string
  cause?: ErrorDescription
}

// Most messages can contain user input: drivers quote parameters, a SyntaxError quotes its input, a TypeError sometimes a
// value. The messages of these classes consist of constants and of names in the code.
const ownErrors = new Set(['ConfigError', 'ProbeError', 'UnusableHashError', 'TooCostlyHashError', 'HttpRefusal'])
const namesCodeOnly =
  /^(Cannot (read|set) properties of (undefined|null) \((reading|setting) '[\w$]+'\)|[\w$.]+ is not (a function|defined|iterable|a constructor))$/
const maxFrames = 12
const maxCauses = 3

/** Describes an error by its type, code, stack and causes, and by its message if that cannot contain user input. */
export function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error)) return { type: typeof error }
  const { code } = error as { code?: unknown }
  const stack = stackWithoutMessage(error)
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, maxFrames)
    .join('\n')
  return {
    type: error.constructor.name,
    ...(error instanceof ConnectError
      ? { code: codeName(error.code), message: error.rawMessage }
      : typeof code === 'string' || typeof code === 'number'
        ? { code }
        : {}),
    ...safeMessage(error),
    ...(stack && { stack }),
    ...(error.cause !== undefined && depth < maxCauses && { cause: describeError(error.cause, depth + 1) })
  }
}

/** The message if it cannot contain user input; of an error of an engine, the reason without parameters. */
function safeMessage(error: Error): { message?: string } {
  if (ownErrors.has(error.constructor.name) || namesCodeOnly.test(error.message)) return { message: error.message }
  const message = error instanceof ConnectError ? undefined : engineReason(error)?.message
  return message === undefined ? {} : { message }
}

/** The stack behind the message, which can contain text that resembles a frame. */
function stackWithoutMessage({ stack = '', message }: Error): string {
  const start = stack.indexOf(message)
  return start < 0 ? stack : stack.slice(start + message.length)
}
