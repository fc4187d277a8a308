/**
 * Keeps a failed HTTP/2 session from ending the process (connectrpc/connect-es#1768, #1795). connect-node 2.2 removes its `error`
 * listener from a session that can still fail: after it connected, when it is aborted while it connects, and if the peer
 * does not speak HTTP/2. It also pings a destroyed session when a stream closes late, which throws in a timer. The calls
 * have failed by then, so the errors are ignored. Remove when both issues are fixed; `isUnprocessed` stays.
 */

import http2, { type ClientHttp2Session } from 'node:http2'
import { syncBuiltinESMExports } from 'node:module'

let isGuarded = false

/** Guards every HTTP/2 session that this process opens later: connect-node has no hook for its sessions. */
export function guardHttp2Sessions(): void {
  if (isGuarded) return
  isGuarded = true
  const connect = http2.connect as (...all: unknown[]) => ClientHttp2Session
  http2.connect = ((...all: unknown[]) => guarded(connect(...all))) as typeof http2.connect
  syncBuiltinESMExports()
}

const lastProcessed = new WeakMap<ClientHttp2Session, number>()

/**
 * Whether the peer certainly did not process a stream: the stream was never sent, or its id is above the last stream id
 * of the peer's GOAWAY (RFC 9113, 6.8). After a GOAWAY with an error code, Node.js destroys all streams with the same error.
 */
export function isUnprocessed(session: ClientHttp2Session, streamId: number | undefined): boolean {
  if (streamId === undefined) return true
  const last = lastProcessed.get(session)
  return last !== undefined && streamId > last
}

function guarded(session: ClientHttp2Session): ClientHttp2Session {
  session.on('goaway', (_code, lastStreamId) => lastProcessed.set(session, lastStreamId))
  const ping = session.ping.bind(session) as (...all: unknown[]) => boolean
  session.ping = (...all: unknown[]) => !session.destroyed && ping(...all)
  return session.on('error', () => {})
}
