/** The log: JSON lines with a fixed set of fields. A field that is not listed here is not written. */

import { ConnectError } from '@connectrpc/connect'
import { type Logger as PinoLogger, pino } from 'pino'
import { codeName } from '#common/errors/codes.ts'
import { engineReason } from '#common/errors/engine-reason.ts'
import type { Trace } from '#common/ops/trace.ts'
import { version } from '#common/process/version.ts'

/** What a line may say besides `time level service version instance msg`. */
export interface LogFields {
  /** Set by the log of a request for itself; see `tracedLogger`. */
  traceId?: string
  spanId?: string
  /** What happened, from the OWASP logging vocabulary where it has a word for it. */
  event?: string
  /** The account; the only handle on a person that is ever logged. */
  userId?: string
  sessionId?: string
  method?: string
  /** The route's pattern, never the URL. */
  route?: string
  statusCode?: number
  /** The service and method of an RPC. */
  rpc?: string
  /** A Connect code in its wire form, such as `unavailable`. */
  code?: string
  /** What a failed look at a dependency found, or why something was refused. */
  reason?: string
  dependency?: string
  durationMs?: number
  signal?: string
  count?: number
  host?: string
  port?: number
  topic?: string
  partition?: number
  offset?: number
  /** The source of other lines: service and instance. */
  source?: string
  /** The requests that a call was made for, if it was made for several at once. */
  traceIds?: readonly string[]
  err?: unknown
}

/** Writes lines about one request, or about the service itself. */
export type Logger = Omit<PinoLogger, LogMethod> & Record<LogMethod, (fields: LogFields, msg: string) => void>
type LogMethod = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'

/** Takes the lines. */
export interface LogDestination {
  /**
   * @param line one line, its end included
   * @param level how severe it is, as pino counts: 30 is `info`
   */
  write(line: string, level: number): void
}

/** Their names; `log.v1.LogLine` documents them. */
export const fieldNames: ReadonlySet<string> = new Set<string>([
  'traceId',
  'spanId',
  'event',
  'userId',
  'sessionId',
  'method',
  'route',
  'statusCode',
  'rpc',
  'code',
  'reason',
  'dependency',
  'durationMs',
  'signal',
  'count',
  'host',
  'port',
  'topic',
  'partition',
  'offset',
  'source',
  'traceIds',
  'err'
] satisfies (keyof LogFields)[])

// The messages of most errors can hold what a user sent: those of drivers quote parameters, a SyntaxError quotes
// its input, a TypeError sometimes a value. These are made of constants and of names in the code.
const ownErrors = new Set(['ConfigError', 'ProbeError', 'UnusableHashError', 'HttpRefusal'])
const nameOnly =
  /^(Cannot (read|set) properties of (undefined|null) \((reading|setting) '[\w$]+'\)|[\w$.]+ is not (a function|defined|iterable|a constructor))$/

interface LoggedError {
  type: string
  code?: string | number
  message?: string
  stack?: string
  cause?: LoggedError
}

/** What is logged of an error: its type, code, place and causes, and its message only where that cannot hold what a user sent. */
export function describeError(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error }
  const { code } = error as { code?: unknown }
  const frames = stackWithoutMessage(error)
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 12)
    .join('\n')
  return {
    type: error.constructor.name,
    ...(error instanceof ConnectError
      ? { code: codeName(error.code), message: error.rawMessage }
      : typeof code === 'string' || typeof code === 'number'
        ? { code }
        : {}),
    ...messageOf(error),
    ...(frames && { stack: frames }),
    ...(error.cause !== undefined && depth < 3 && { cause: describeError(error.cause, depth + 1) })
  }
}

/** The message of an error, where it cannot hold what a user sent; of an engine's refusal, what that says. */
function messageOf(error: Error): { message?: string } {
  if (ownErrors.has(error.constructor.name) || nameOnly.test(error.message)) return { message: error.message }
  const message = error instanceof ConnectError ? undefined : engineReason(error)?.message
  return message === undefined ? {} : { message }
}

/** The frames of an error; its message, which can look like one, stands before them. */
function stackWithoutMessage({ stack = '', message }: Error): string {
  const start = stack.indexOf(message)
  return start < 0 ? stack : stack.slice(start + message.length)
}

/**
 * The log of one service process.
 *
 * @param destination where the lines go; standard output unless given
 * @param instance tells the process from others of the service
 */
export function createLogger(
  service: string,
  level: string,
  destination: LogDestination = pino.destination({ fd: 1, sync: true }),
  instance = `${process.pid}`
): Logger {
  const options = {
    level,
    base: { service, version, instance },
    messageKey: 'msg',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: onlyKnown
    },
    serializers: { err: (error: unknown) => describeError(error) }
  }
  const stream = {
    // pino then sets before each write how severe the line is.
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 0,
    write(line: string) {
      destination.write(escapeLineEnds(line), this.lastLevel)
    }
  }
  return pino(options, stream) as unknown as Logger
}

function onlyKnown(fields: Record<string, unknown>): Record<string, unknown> {
  for (const name in fields) {
    if (!fieldNames.has(name)) return Object.fromEntries(Object.entries(fields).filter(([key]) => fieldNames.has(key)))
  }
  return fields
}

// JSON may hold them as they are, but some readers take them for the end of a line.
const lineEnds = /[\u0085\u2028\u2029]/g

function escapeLineEnds(line: string): string {
  return line.replace(lineEnds, (end) => `\\u${end.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** The same log, with the ids of a trace on each line. */
export function tracedLogger(log: Logger, trace: Trace): Logger {
  return log.child({ traceId: trace.traceId, spanId: trace.spanId }) as unknown as Logger
}
