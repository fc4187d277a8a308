/** The end of HTTP/1.1 connections when a server stops: `Connection: close` announces it to the client (RFC 9112, 9.6). */

import type { ServerResponse } from 'node:http'

/**
 * How long a stopping server still accepts requests, in milliseconds. Each response announces the end of its connection, so
 * that clients that send one request after the other lose none: without this time, each of 30 such clients of a gateway got
 * a reset (gateway/test/drain.test.ts).
 */
export const announcementMs = 200

/** The connection ends after this response. */
export function announceClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close')
}
