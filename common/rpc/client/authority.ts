/**
 * The `:authority` of RPCs, which nothing depends on. Node.js sends an IPv6 address without its brackets (since
 * nodejs/node#28406), and connect-node builds a URL from what it receives, which throws without an answer to the caller.
 */

import type { IncomingHttpHeaders } from 'node:http2'

/** Replaces an authority that is no part of a URL. */
export function replaceBrokenAuthority(headers: IncomingHttpHeaders): void {
  const authority = headers[':authority'] ?? headers.host
  if (!authority || !URL.canParse(`http://${authority}`)) headers[':authority'] = 'localhost'
}

/** The authority for requests to a URL, as RFC 3986, 3.2 has it. */
export function authorityHeader(url: string): Record<':authority', string> {
  return { ':authority': new URL(url).host }
}
