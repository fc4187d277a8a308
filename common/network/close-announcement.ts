/** The end of HTTP/1.1 connections when a server stops: `Connection: close` announces it to the client (RFC 9112, 9.6). */

import type { ServerResponse } from 'node:http'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'

const announcementMs = 200

/**
 * The time in which a stopping server still accepts requests. Each response announces the end of its connection, so that
 * clients that send one request after the other lose none: without this time, each of 30 such clients of a gateway got a
 * reset (gateway/test/drain.test.ts).
 */
export async function announcementTime(): Promise<void> {
  await sleep(announcementMs)
  // After a stall of this process, its timers run before it reads the requests that have arrived.
  await turn()
}

/** The connection ends after this response. */
export function announceClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close')
}
