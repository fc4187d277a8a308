/**
 * The `:authority` header of RPCs. Node.js sends an IPv6 address without brackets (since nodejs/node#28406), and
 * connect-node 2.2 throws while it builds a URL from that, without a response to the caller. Remove when both are fixed;
 * no upstream issue of connect-es known.
 */

import type { IncomingHttpHeaders } from 'node:http2'

/** Replaces an authority that a URL cannot contain; no handler reads it. */
export function replaceBrokenAuthority(headers: IncomingHttpHeaders): void {
  const authority = headers[':authority'] ?? headers.host
  if (!authority || !URL.canParse(`http://${authority}`)) headers[':authority'] = 'localhost'
}

/** The authority of a URL (RFC 3986, 3.2). */
export function authorityHeader(url: string): Record<':authority', string> {
  return { ':authority': new URL(url).host }
}
