/** Caps the deadline that a peer sends with a call, in each protocol, before anything reads it. */

import type { IncomingHttpHeaders } from 'node:http2'

// A timer of Node.js holds 2^31 - 1 ms; connect-es passes a longer deadline to one, where it is over at once.
const unitMs: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 }

/**
 * Sets the deadline of a unary call that has none, and lowers the deadline of Connect (`connect-timeout-ms`, at most 10 digits) and of gRPC and gRPC-Web (`grpc-timeout`, at
 * most 8 digits and a unit) to `maxMs`. A value that is not well-formed stays as it is: it is `invalid_argument`.
 */
export function capDeadline(headers: IncomingHttpHeaders, maxMs: number, isUnary: boolean): void {
  if (isUnary) {
    if (String(headers['content-type']).startsWith('application/grpc')) headers['grpc-timeout'] ??= `${maxMs}m`
    else headers['connect-timeout-ms'] ??= String(maxMs)
  }
  const connect = /^\d{1,10}$/.exec(String(headers['connect-timeout-ms'] ?? ''))
  if (connect && Number(connect[0]) > maxMs) headers['connect-timeout-ms'] = String(maxMs)
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(String(headers['grpc-timeout'] ?? '')) ?? []
  if (digits && unit && Number(digits) * (unitMs[unit] ?? 0) > maxMs) headers['grpc-timeout'] = `${maxMs}m`
}
