/** Caps the deadline that a peer sends with a call, in all protocols, before connect-es reads it. */

import type { IncomingHttpHeaders } from 'node:http2'

// connect-es 2.2 passes a deadline above 2^31 - 1 ms to a timer of Node.js, which then fires at once.
const unitMs: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 }

/**
 * Limits the deadline to `maxMs`; a unary call without a deadline gets `maxMs`. The header is `connect-timeout-ms` (at
 * most 10 digits) of Connect, or `grpc-timeout` (at most 8 digits and a unit) of gRPC and gRPC-Web. connect-es rejects a
 * malformed value as `invalid_argument`.
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
