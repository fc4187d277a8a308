/** Headers that restrict what browsers do with a response (OWASP ASVS 3.4): a JSON response is never a page, a frame or a script. */

import type { Socket } from 'node:net'

/** For responses that are no page. */
const nothing = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** For pages whose scripts, styles and requests come from the gateway itself. */
export const ownPagePolicy = nothing.replace("default-src 'none'", "default-src 'self'")

export const browserHeaders = {
  'content-security-policy': nothing,
  'cross-origin-opener-policy': 'same-origin',
  // Pages of listed origins still read responses: CORS comes first.
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY'
}

/** Over TLS only (RFC 6797, 7.2). Without `includeSubDomains`: the other hosts of the domain belong to others. */
export function transportHeaders(socket: Socket & { encrypted?: boolean }): Record<string, string> {
  return socket.encrypted ? { 'strict-transport-security': 'max-age=31536000' } : {}
}
