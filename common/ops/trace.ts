/** W3C Trace Context: https://www.w3.org/TR/trace-context/ */

import { randomBytes } from 'node:crypto'

/** A position in a trace: the trace of a request, and the current span. */
export interface Trace {
  /** 32 lower-case hexadecimal digits, shared by all spans of a request. */
  traceId: string
  /** 16 lower-case hexadecimal digits. */
  spanId: string
  /** The trace flags as two hexadecimal digits. */
  flags: string
}

const format = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

// One call of randomBytes for many ids: a call for each would cost more than the other work of a span.
const pool = { bytes: Buffer.alloc(0), used: 0 }

function randomHex(length: number): string {
  if (pool.used + length > pool.bytes.length) {
    pool.bytes = randomBytes(4096)
    pool.used = 0
  }
  pool.used += length
  const hex = pool.bytes.toString('hex', pool.used - length, pool.used)
  return /[^0]/.test(hex) ? hex : randomHex(length)
}

/** Whether a string is a trace id. */
export function isTraceId(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text)
}

/** Starts a trace. */
export function newTrace(): Trace {
  return { traceId: randomHex(16), spanId: randomHex(8), flags: '01' }
}

/** A new span in a trace. */
export function childSpan(trace: Trace): Trace {
  return { ...trace, spanId: randomHex(8) }
}

/** Continues the trace that a `traceparent` header names; a header that is missing or malformed starts a new one. */
export function continueTrace(header: string | null | undefined): Trace {
  const match = header ? format.exec(header) : null
  if (match === null) return newTrace()
  const [, version, traceId, parentId, flags, suffix] = match as unknown as [
    string,
    string,
    string,
    string,
    string,
    string?
  ]
  const malformed =
    version === 'ff' || (version === '00' && suffix !== undefined) || /^0+$/.test(traceId) || /^0+$/.test(parentId)
  return malformed ? newTrace() : { traceId, spanId: randomHex(8), flags }
}

/** The `traceparent` header of a span. */
export function traceparent(trace: Trace): string {
  return `00-${trace.traceId}-${trace.spanId}-${trace.flags}`
}
