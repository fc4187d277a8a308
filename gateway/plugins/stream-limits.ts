/** Ends HTTP/2 requests that do not arrive, responses that are not read, and idle sessions; other streams of a connection continue. */

import type { ServerResponse } from 'node:http'
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { type Connection, hasArrived } from '../connections.ts'
import { streamOf } from '../http2.ts'
import { HttpRefusal } from '../problem.ts'

/** In milliseconds. */
export interface StreamTimeouts {
  /** For a request to arrive, and for the first request of a session. */
  receiveTimeout: number
  /** For a client to read a response. */
  unreadTimeout: number
  /** Between a response and the next request. */
  keepAliveTimeout: number
}

/**
 * @param recordUnread counts a response that was not read
 * @returns a function that checks a session; the times of its streams begin with the first check that finds them
 */
export function stalledStreams(timeouts: StreamTimeouts, recordUnread: () => void) {
  const openSince = new WeakMap<ServerResponse, number>()
  const sentSince = new WeakMap<ServerResponse, number>()

  function check(response: ServerResponse, stream: ServerHttp2Stream, now: number): void {
    const { req } = response
    if (!response.headersSent) {
      const isLate = since(openSince, response, now) > timeouts.receiveTimeout && !hasArrived(req)
      // Fastify answers the error of a body that it reads.
      if (isLate && !req.destroyed) req.destroy(new HttpRefusal(408))
      return
    }
    const ms = since(sentSince, response, now)
    if (response.writableFinished && ms > 0) {
      // The response is complete, and the body of its request is not: RFC 9113, 8.1.
      stream.close(constants.NGHTTP2_NO_ERROR)
      stream.destroy()
    } else if (ms > timeouts.unreadTimeout) {
      recordUnread()
      stream.close(constants.NGHTTP2_CANCEL)
      // The client may read nothing at all, not even the reset.
      stream.destroy()
    }
  }

  return function endStalled(
    session: ServerHttp2Session,
    { responses, isUsed, idleSince }: Connection,
    now: number
  ): void {
    for (const response of [...responses]) {
      const stream = streamOf(response)
      if (stream !== undefined) check(response, stream, now)
    }
    const idleTimeout = isUsed ? timeouts.keepAliveTimeout : timeouts.receiveTimeout
    if (responses.length === 0 && now - idleSince > idleTimeout && !session.destroyed) session.close()
  }
}

/** The time since the first call for a key. */
function since(starts: WeakMap<ServerResponse, number>, key: ServerResponse, now: number): number {
  const start = starts.get(key) ?? now
  starts.set(key, start)
  return now - start
}
