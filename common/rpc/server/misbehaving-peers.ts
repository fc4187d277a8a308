/**
 * Limits for peers of an RPC port without the credential: resets ("rapid reset", CVE-2023-44487) and open streams of a
 * connection. A peer with the credential may reset as many streams as its own callers cancel: the reset budget of Node.js
 * would end the only connection of a gateway whose clients disconnect.
 */

import { constants, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { type Clock, systemClock } from '#common/time/clock.ts'

const { NGHTTP2_ENHANCE_YOUR_CALM: enhanceYourCalm, NGHTTP2_REFUSED_STREAM: refusedStream } = constants

/** Options of `http2.createServer` that turn off nghttp2's own budget, which counts the resets of all peers alike. */
export const unlimitedResets = { streamResetBurst: 2 ** 32 - 1, streamResetRate: 2 ** 32 - 1 }

/** The limits of a connection without the credential; those of resets are nghttp2's defaults. */
interface PeerLimits {
  resetBurst: number
  resetsPerSecond: number
  openStreams: number
  /** Of all connections without the credential together, the first stream of each excepted. */
  allOpenStreams: number
}

const defaultLimits: PeerLimits = { resetBurst: 1000, resetsPerSecond: 33, openStreams: 100, allOpenStreams: 1000 }

interface Peer {
  hasCredential: boolean
  openStreams: number
  resets: number
  countedAt: number
}

/** @returns whether a call may start; a call that may not is refused with REFUSED_STREAM */
export function guardPeers(
  hasCredential: (headers: IncomingHttpHeaders, session: ServerHttp2Session) => boolean,
  limits = defaultLimits,
  clock: Pick<Clock, 'now'> = systemClock
): (call: { headers: IncomingHttpHeaders; stream: ServerHttp2Stream }) => boolean {
  const peers = new WeakMap<ServerHttp2Session, Peer>()
  let allOpenStreams = 0

  function peerOf(session: ServerHttp2Session): Peer {
    const known = peers.get(session)
    if (known) return known
    const peer = { hasCredential: false, openStreams: 0, resets: 0, countedAt: clock.now() }
    peers.set(session, peer)
    return peer
  }

  function countReset(peer: Peer, session: ServerHttp2Session): void {
    const now = clock.now()
    const refilled = ((now - peer.countedAt) / 1000) * limits.resetsPerSecond
    peer.resets = Math.max(0, peer.resets - refilled) + 1
    peer.countedAt = now
    if (peer.resets <= limits.resetBurst || session.destroyed) return
    session.goaway(enhanceYourCalm)
    session.destroy()
  }

  function countStream(peer: Peer, stream: ServerHttp2Stream, session: ServerHttp2Session): void {
    peer.openStreams += 1
    allOpenStreams += 1
    stream.once('close', () => {
      peer.openStreams -= 1
      allOpenStreams -= 1
      if (!peer.hasCredential && stream.rstCode !== constants.NGHTTP2_NO_ERROR) countReset(peer, session)
    })
  }

  return ({ headers, stream }) => {
    // A call that does not start has no other listener, and an unhandled error would end the process.
    stream.on('error', () => {})
    const session = stream.session as ServerHttp2Session | undefined
    // The stream ended before its call started, by an error of its session or by its peer.
    if (session === undefined) return false
    const peer = peerOf(session)
    peer.hasCredential ||= hasCredential(headers, session)
    if (peer.hasCredential) return true
    countStream(peer, stream, session)
    // A connection may always have one stream, so that a few peers cannot keep the health probes of an orchestrator out.
    const isWithinTotal = allOpenStreams <= limits.allOpenStreams || peer.openStreams === 1
    if (peer.openStreams <= limits.openStreams && isWithinTotal) return true
    stream.close(refusedStream)
    return false
  }
}
