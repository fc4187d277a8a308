/**
 * Keeps a connection between services that breaks from ending the process. connect-node 2.2 takes its listener off a
 * session while that can still fail: when it has just connected, when it is given up while it connects, and when
 * something answers that does not speak HTTP/2. And it pings a session that is gone when a stream of it closes late,
 * which throws in a timer. The calls that it is about have failed by then, so nothing is lost here.
 */

import http2, { type ClientHttp2Session } from 'node:http2'
import { syncBuiltinESMExports } from 'node:module'

let isGuarded = false

/** From now on, every HTTP/2 session that this process opens is guarded: connect-node offers no other place for it. */
export function guardHttp2Sessions(): void {
  if (isGuarded) return
  isGuarded = true
  const connect = http2.connect as (...all: unknown[]) => ClientHttp2Session
  http2.connect = ((...all: unknown[]) => guarded(connect(...all))) as typeof http2.connect
  syncBuiltinESMExports()
}

const lastProcessed = new WeakMap<ClientHttp2Session, number>()

/**
 * Whether the peer certainly did not process a stream: it was never sent, or its id is above the last one that the
 * peer's GOAWAY names (RFC 9113, 6.8). Node.js destroys all streams of a session alike when the GOAWAY has an error code.
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
