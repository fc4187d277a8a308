/** The log: JSON lines with a fixed set of fields. Other fields are not written. */

import type { Message } from '@bufbuild/protobuf'
import { type Logger as PinoLogger, pino } from 'pino'
import type { Trace } from '#common/ops/trace.ts'
import { version } from '#common/process/version.ts'
import { type LogLine, LogLineSchema } from '#gen/log/v1/log_pb.ts'
import { describeError } from './describe-error.ts'

/** Set by this file on every line. */
type FixedField = 'level' | 'time' | 'service' | 'version' | 'instance' | 'msg'
const fixedFields = new Set<string>(['level', 'time', 'service', 'version', 'instance', 'msg'] satisfies FixedField[])

/** The fields of a line besides the fixed ones, as `log.v1.LogLine` declares and documents them; `err` may be any error. */
export type LogFields = Partial<Omit<LogLine, keyof Message | FixedField | 'err'>> & { err?: unknown }

/** The names of these fields. */
const fieldNames: ReadonlySet<string> = new Set(
  LogLineSchema.fields.map(({ jsonName }) => jsonName).filter((name) => !fixedFields.has(name))
)

/** Writes lines about one request, or about the service itself. */
export type Logger = Omit<PinoLogger, LogMethod> & Record<LogMethod, Write>
/** Without the second part, TypeScript would accept unknown fields of a variable. */
type Write = <F extends LogFields>(fields: F & Record<Exclude<keyof F, keyof LogFields>, never>, msg: string) => void
type LogMethod = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'

/** Takes the lines of a log. */
export interface LogDestination {
  /**
   * @param line one line with its line end
   * @param level as pino counts: 30 is `info`
   */
  write(line: string, level: number): void
}

/**
 * Creates the log of a service process.
 *
 * @param destination standard output by default
 * @param instance the id of the process among those of the service
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
    // Makes pino set `lastLevel` before each write.
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

// JSON allows these characters unescaped, but some readers treat them as line ends.
const lineEnds = /[\u0085\u2028\u2029]/g

function escapeLineEnds(line: string): string {
  return line.replace(lineEnds, (end) => `\\u${end.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** A child log with the ids of a trace, and the caller if there is one, on each line. */
export function tracedLogger(log: Logger, { traceId, spanId }: Trace, caller?: string): Logger {
  return log.child({ traceId, spanId, ...(caller !== undefined && { caller }) }) as unknown as Logger
}
