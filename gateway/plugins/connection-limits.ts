/** Limits connections, pipelined requests, and the time that a connection may neither read nor send a request. */

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { Counter, Gauge, type Registry } from '@prometheus-io/client'
import type { FastifyInstance } from 'fastify'
import { tooManyRequests } from '#common/errors/connect-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { affordableConnections } from '#common/process/descriptors.ts'
import { tcpEvent } from '#common/tls/termination.ts'
import { type Connection, type Connections, connectionOf } from '../connections.ts'
import { connectionNetworks } from './connection-networks.ts'
import { type StreamTimeouts, stalledStreams } from './stream-limits.ts'

interface ConnectionLimits extends StreamTimeouts {
  max: number
  /** For each IPv4 address and IPv6 /64 that is no trusted proxy. */
  maxPerNetwork: number
  maxPipelined: number
}

const reasons = {
  total: 'ended or rejected connections: gateway.connections.max, or the limit of descriptors, was reached',
  network: 'rejected connections of a network: gateway.connections.maxPerNetwork was reached',
  pipelined: 'ended connections with more pipelined requests than gateway.connections.maxPipelined',
  unread: 'ended responses that were not read within gateway.connections.unreadTimeout',
  idle: 'ended connections that sent bytes, but no request, gateway.connections.receiveTimeout after gateway.keepAliveTimeout'
} as const
type Reason = keyof typeof reasons
type End = ReturnType<typeof connectionEnds>

const checkEveryMs = 500
/** At the maximum, this share of the connections ends at once if they are idle. */
const freedShare = 100
const logEveryMs = 60_000

interface Parts {
  registry: Registry
  log: Logger
  /** Proxies have no limit of their own: their connections carry the requests of many clients. */
  isTrusted: (address: string) => boolean
}

export function limitConnections(
  app: FastifyInstance,
  connections: Connections,
  limits: ConnectionLimits,
  parts: Parts
): void {
  new Gauge({
    name: 'http_connections_open',
    help: 'Open connections of clients and proxies',
    registers: [parts.registry],
    collect() {
      this.set(connections.size)
    }
  })
  const end = connectionEnds(parts)
  limitOpen(app, connectionNetworks(app, connections, parts.isTrusted), limits, end)
  limitPipelining(app, connections, limits.maxPipelined, end)
  endStalled(app, connections, limits, end)
}

function limitOpen(
  app: FastifyInstance,
  networks: ReturnType<typeof connectionNetworks>,
  limits: Pick<ConnectionLimits, 'max' | 'maxPerNetwork'>,
  end: End
): void {
  const max = affordableConnections(limits.max)
  const open = new Set<Socket>()
  function release(socket: Socket): void {
    open.delete(socket)
    networks.delete(socket)
  }
  /** The place is free at once: further connections arrive before the event `close`. */
  function endNow(socket: Socket, reason: Reason): void {
    release(socket)
    end(socket, reason)
  }
  // With TLS, a connection counts before its handshake.
  app.server.on(tcpEvent(app.server), (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => release(socket))
    if (networks.add(socket) > limits.maxPerNetwork) return endNow(socket, 'network')
    if (open.size <= max) return
    // A few networks that hold all connections do not keep the others out.
    const surplus = networks.surplus(Math.ceil(max / freedShare), socket)
    for (const each of surplus.length > 0 ? surplus : [socket]) endNow(each, 'total')
  })
}

/** Rejects the first request above the maximum with 429, and ends the connection after that response. */
function limitPipelining(app: FastifyInstance, connections: Connections, max: number, end: End): void {
  // HTTP/2 has a limit of its own, which clients know: gateway.connections.maxStreams.
  function waiting(request: IncomingMessage): number {
    const { session, responses } = connectionOf(connections, request) ?? { responses: [] }
    return session === undefined ? responses.length : 0
  }
  const rejected = new WeakSet<Socket>()
  app.addHook('onRequest', ({ raw }, reply, done) => {
    if (waiting(raw) <= max) return done()
    const { socket } = raw
    // The requests behind the rejected one get no response.
    if (rejected.has(socket)) return void reply.hijack()
    rejected.add(socket)
    reply.header('connection', 'close')
    done(tooManyRequests(1))
  })
  app.server.on('request', (request: IncomingMessage) => {
    const count = waiting(request)
    if (count === max + 1) end.record('pipelined')
    if (count > 2 * max) request.socket.destroy()
  })
}

function endStalled(app: FastifyInstance, connections: Connections, limits: ConnectionLimits, end: End): void {
  const isUnread = unreadResponses(limits.unreadTimeout)
  const endStreams = stalledStreams(limits, () => end.record('unread'))
  // With the time of an arriving request. Node.js 24 has a timeout for idle connections, which each blank line restarts (see
  // nodejs/node#58140). Remove when Node.js ends such connections.
  const idleTimeout = limits.keepAliveTimeout + limits.receiveTimeout
  const timer = setInterval(() => {
    const now = performance.now()
    for (const connection of connections.values()) {
      const { socket, session, responses, idleSince } = connection
      if (responses.length === 0 && now - idleSince > idleTimeout) end(socket, 'idle')
      else if (session !== undefined) endStreams(session, connection, now)
      else if (isUnread(connection, now)) end(socket, 'unread')
    }
  }, checkEveryMs).unref()
  app.addHook('onClose', async () => clearInterval(timer))
}

/**
 * Whether the client of a connection reads its first response for longer than the timeout. Later responses wait behind
 * the first; a response counts as read when the kernel has taken its last byte.
 */
function unreadResponses(timeoutMs: number): (connection: Connection, now: number) => boolean {
  const sentSince = new WeakMap<object, number>()
  return ({ responses: [first] }, now) => {
    if (first === undefined || !first.headersSent) return false
    const since = sentSince.get(first)
    if (since === undefined) sentSince.set(first, now)
    return since !== undefined && now - since > timeoutMs
  }
}

/** Destroys connections, counts the reasons, and logs each reason at most once a minute. */
function connectionEnds({ registry, log }: Pick<Parts, 'registry' | 'log'>) {
  const counter = new Counter({
    name: 'http_connections_ended_total',
    help: 'Connections that the gateway rejected or ended because of a limit, by reason',
    labelNames: ['reason'],
    registers: [registry]
  })
  const unlogged = new Map<Reason, { count: number; logAfter: number }>()
  for (const reason of Object.keys(reasons) as Reason[]) counter.inc({ reason }, 0)

  function record(reason: Reason): void {
    counter.inc({ reason })
    const { count, logAfter } = unlogged.get(reason) ?? { count: 0, logAfter: 0 }
    const now = performance.now()
    if (now < logAfter) {
      unlogged.set(reason, { count: count + 1, logAfter })
      return
    }
    log.warn({ event: 'http_connection_ended', reason, count: count + 1 }, reasons[reason])
    unlogged.set(reason, { count: 0, logAfter: now + logEveryMs })
  }
  function end(socket: Socket, reason: Reason): void {
    record(reason)
    socket.destroy()
  }
  return Object.assign(end, { record })
}
