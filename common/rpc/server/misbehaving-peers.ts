/**
 * What a peer may do on one connection of an RPC port. A peer that has shown the credential may cancel as many calls as
 * its own callers give up: the budget of HTTP/2 servers for resets ("rapid reset", CVE-2023-44487) would end the only
 * connection of a gateway whose clients disconnect. A peer without the credential keeps that budget, and a bound on its
 * open streams.
 */

import type { Http2ServerRequest, IncomingHttpHeaders, ServerHttp2Session } from 'node:http2'
import { constants } from 'node:http2'

const { NGHTTP2_ENHANCE_YOUR_CALM: enhanceYourCalm, NGHTTP2_REFUSED_STREAM: refusedStream } = constants

/** For `http2.createServer`: nghttp2 counts the resets of all peers alike, so its own budget is as good as none. */
export const unlimitedResets = { streamResetBurst: 2 ** 32 - 1, streamResetRate: 2 ** 32 - 1 }

/** The limits of a connection without the credential; the resets are those of nghttp2. */
export interface PeerLimits {
  resetBurst: number
  resetsPerSecond: number
  openStreams: number
}

const defaultLimits: PeerLimits = { resetBurst: 1000, resetsPerSecond: 33, openStreams: 100 }

interface Peer {
  isTrusted: boolean
  openStreams: number
  resets: number
  countedAt: number
}

/**
 * Admits calls by connection.
 *
 * @param hasCredential whether the headers of a call carry an accepted credential
 * @returns whether a call may begin; one that may not has been refused with REFUSED_STREAM
 */
export function guardPeers(
  hasCredential: (headers: IncomingHttpHeaders) => boolean,
  limits = defaultLimits,
  nowMs = () => performance.now()
): (request: Pick<Http2ServerRequest, 'headers' | 'stream'>) => boolean {
  const peers = new WeakMap<object, Peer>()

  function peerOf(session: ServerHttp2Session): Peer {
    const known = peers.get(session)
    if (known) return known
    const peer = { isTrusted: false, openStreams: 0, resets: 0, countedAt: nowMs() }
    peers.set(session, peer)
    return peer
  }

  function countReset(peer: Peer, session: ServerHttp2Session): void {
    const now = nowMs()
    const refilled = ((now - peer.countedAt) / 1000) * limits.resetsPerSecond
    peer.resets = Math.max(0, peer.resets - refilled) + 1
    peer.countedAt = now
    if (peer.resets <= limits.resetBurst || session.destroyed) return
    session.goaway(enhanceYourCalm)
    session.destroy()
  }

  return ({ headers, stream }) => {
    const { session } = stream
    // The stream ended before its call began.
    if (session === undefined) return false
    const peer = peerOf(session as ServerHttp2Session)
    if (peer.isTrusted) return true
    if (hasCredential(headers)) {
      peer.isTrusted = true
      return true
    }
    peer.openStreams += 1
    stream.once('close', () => {
      peer.openStreams -= 1
      if (!peer.isTrusted && stream.rstCode !== constants.NGHTTP2_NO_ERROR) {
        countReset(peer, session as ServerHttp2Session)
      }
    })
    if (peer.openStreams <= limits.openStreams) return true
    // A refused stream has no other listener, and its error would end the process.
    stream.on('error', () => {})
    stream.close(refusedStream)
    return false
  }
}
