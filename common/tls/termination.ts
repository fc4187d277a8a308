/** TLS before a server of plain connections: `connection` then has the decrypted sockets. */

import { constants } from 'node:crypto'
import type { Server, Socket } from 'node:net'
import { createServer, TLSSocket } from 'node:tls'
import {
  createPemSource,
  type Pem,
  type PemFiles,
  refreshIfUsable,
  refreshMs,
  secureContextOptions
} from './pem-source.ts'

export interface ServerTls extends PemFiles {
  /** Whether clients present a certificate of `ca`. An invalid one is always rejected. */
  clientCert?: 'none' | 'request' | 'require'
}

/** The event of a TCP connection: of a server with TLS, `connection` follows after the handshake. */
export function tcpEvent(server: Server): 'connection' | 'tcpConnection' {
  return terminated.has(server) ? 'tcpConnection' : 'connection'
}

/** Whether a server offers TLS. */
export function hasTls({ cert = '' }: PemFiles = {}): boolean {
  return cert !== ''
}

export interface Termination {
  /** Calls back when the certificates that clients are checked with have changed. */
  onTrustChange(listener: () => void): void
  /** Ends the connections without a complete handshake. */
  abortHandshakes(): void
}

const terminated = new WeakSet<Server>()
const tcpSockets = new WeakMap<Socket, Socket>()

/** The TCP socket of a connection with or without TLS. */
export const tcpSocketOf = (socket: Socket): Socket => tcpSockets.get(socket) ?? socket

/**
 * Adds a listener of `data`: Node.js then passes the data through the buffer of the socket to the HTTP/1.1 parser. Otherwise the
 * parser reads the decrypted records directly. A request that arrives before the server knows that a large response is
 * written pauses the parser, and the next record of the same read is an error (HPE_PAUSED), which ends the connection; 5 of
 * 12 runs of connectconformance on a busy machine failed by this. No upstream issue known (Node.js 24.21). Remove when
 * unfinished-responses.test.ts passes without it.
 */
function passThroughBuffer(socket: TLSSocket): void {
  socket.on('data', () => {})
}

/** The same for a TCP connection and its TLS socket. */
const connectionKey = ({ remoteAddress, remotePort, localAddress }: Socket) =>
  [remoteAddress, remotePort, localAddress].join()
const handshakeTimeoutMs = 10_000

/**
 * Makes a server accept TLS 1.2 and 1.3, with a protocol by ALPN. It reads the files again every two seconds.
 *
 * @param handshakeMs the time for a handshake, after which its connection ends
 * @throws {PemError} if the files cannot be used
 */
export function terminateTls(
  server: Server,
  { clientCert = 'none', ...files }: ServerTls,
  protocols: readonly string[] = ['h2', 'http/1.1'],
  handshakeMs = handshakeTimeoutMs
): Termination {
  const pem = createPemSource(files)
  const requestCert = clientCert !== 'none'
  const contextOptions = (current: Pem) => ({
    ...secureContextOptions(current),
    minVersion: 'TLSv1.2' as const,
    // A resumed session would skip the check of the client's certificate.
    ...(requestCert && { secureOptions: constants.SSL_OP_NO_TICKET })
  })
  const tls = createServer({
    ...contextOptions(pem.current()),
    ALPNProtocols: [...protocols],
    requestCert,
    rejectUnauthorized: clientCert === 'require'
  })
  const handshaking = new Map<string, Socket>()
  const listeners: (() => void)[] = []
  const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean

  function startHandshake(socket: Socket): boolean {
    emit('tcpConnection', socket)
    if (socket.destroyed) return true
    const key = connectionKey(socket)
    handshaking.set(key, socket)
    // The handshakeTimeout of Node.js starts anew with each byte, and only reports (event tlsClientError).
    const timer = setTimeout(() => {
      if (handshaking.get(key) === socket) socket.destroy()
    }, handshakeMs).unref()
    socket.once('close', () => {
      clearTimeout(timer)
      if (handshaking.get(key) === socket) handshaking.delete(key)
    })
    // As https.Server does, or a client that disconnects in its handshake would keep the connection open.
    socket.allowHalfOpen = false
    // Until the handshake has its own listener.
    socket.on('error', () => {})
    return tls.emit('connection', socket)
  }
  tls.on('secureConnection', (socket: TLSSocket) => {
    const key = connectionKey(socket)
    const tcpSocket = handshaking.get(key)
    if (tcpSocket !== undefined) tcpSockets.set(socket, tcpSocket)
    handshaking.delete(key)
    if (requestCert && !socket.authorized && socket.getPeerX509Certificate()) socket.destroy()
    else {
      emit('connection', socket)
      if (socket.alpnProtocol !== 'h2') passThroughBuffer(socket)
    }
  })
  server.emit = ((event: string, ...args: unknown[]) => {
    if (event !== 'connection' || args[0] instanceof TLSSocket) return emit(event, ...args)
    return startHandshake(args[0] as Socket)
  }) as typeof server.emit
  terminated.add(server)

  function refresh(): void {
    const before = pem.current()
    refreshIfUsable(pem)
    const now = pem.current()
    if (now === before) return
    tls.setSecureContext(contextOptions(now))
    const isSame = (kind: 'ca' | 'crl') => before[kind]?.equals(now[kind] as Buffer) ?? now[kind] === undefined
    if (isSame('ca') && isSame('crl')) return
    // A handshake that has begun uses the previous files.
    abortHandshakes()
    for (const listener of listeners) listener()
  }
  function abortHandshakes(): void {
    for (const socket of handshaking.values()) socket.destroy()
  }
  const timer = setInterval(refresh, refreshMs).unref()
  server.once('close', () => clearInterval(timer))
  return {
    onTrustChange: (listener) => void listeners.push(listener),
    abortHandshakes
  }
}
