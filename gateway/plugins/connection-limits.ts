/** Bounds connections, pipelined requests, and the time that a connection can hold without reading or asking. */

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import rateLimit from '@fastify/rate-limit'
import { Counter, Gauge, type Registry } from '@prometheus-io/client'
import type { FastifyInstance } from 'fastify'
import { tooManyRequests } from '#common/errors/connect-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { affordableConnections } from '#common/process/descriptors.ts'
import { canonicalAddress } from '../client-address.ts'
import type { Connection, Connections } from '../connections.ts'

export interface ConnectionLimits {
  max: number
  /** For each IPv4 address and IPv6 /64 that is no trusted proxy. */
  maxPerNetwork: number
  maxPipelined: number
  /** In milliseconds. */
  unreadTimeout: number
  /** In milliseconds: how long a connection may be idle, a request that is arriving included. */
  idleTimeout: number
}

const reasons = {
  total: 'rejected connections: gateway.connections.max, or the limit of descriptors, was reached',
  network: 'rejected connections of a network: gateway.connections.maxPerNetwork was reached',
  pipelined: 'ended connections with more pipelined requests than gateway.connections.maxPipelined',
  unread: 'ended connections whose response was not read within gateway.connections.unreadTimeout',
  idle: 'ended connections that sent bytes, but no request, 10 s after gateway.keepAliveTimeout'
} as const
type Reason = keyof typeof reasons

const checkEveryMs = 500
const logEveryMs = 60_000

/** `trusts` tells proxies, whose connections carry the requests of many clients. */
export function limitConnections(
  app: FastifyInstance,
  connections: Connections,
  limits: ConnectionLimits,
  parts: { registry: Registry; log: Logger; trusts: (address: string) => boolean }
): void {
  const max = affordableConnections(limits.max)
  const end = connectionEnds(parts)
  new Gauge({
    name: 'http_connections_open',
    help: 'Connections of clients and proxies that are open',
    registers: [parts.registry],
    collect() {
      this.set(connections.size)
    }
  })

  const byNetwork = new Map<string, number>()
  app.server.on('connection', (socket: Socket) => {
    if (connections.size > max) return end(socket, 'total')
    const address = canonicalAddress(socket.remoteAddress ?? '')
    if (address === undefined || parts.trusts(address)) return
    const network = rateLimit.normalizeIP(address)
    const count = (byNetwork.get(network) ?? 0) + 1
    if (count > limits.maxPerNetwork) return end(socket, 'network')
    byNetwork.set(network, count)
    socket.once('close', () => {
      const left = (byNetwork.get(network) ?? 1) - 1
      if (left > 0) byNetwork.set(network, left)
      else byNetwork.delete(network)
    })
  })

  const refused = new WeakSet<Socket>()
  app.addHook('onRequest', ({ raw: { socket } }, reply, done) => {
    const waiting = connections.get(socket)?.responses.length ?? 0
    if (waiting <= limits.maxPipelined) return done()
    // What is behind a refusal that ends the connection is not processed.
    if (refused.has(socket)) return void reply.hijack()
    refused.add(socket)
    reply.header('connection', 'close')
    done(tooManyRequests(1))
  })
  app.server.on('request', ({ socket }: IncomingMessage) => {
    const waiting = connections.get(socket)?.responses.length ?? 0
    if (waiting === limits.maxPipelined + 1) end.record('pipelined')
    if (waiting > 2 * limits.maxPipelined) socket.destroy()
  })

  const unread = unreadResponses(limits.unreadTimeout)
  const timer = setInterval(() => {
    const now = performance.now()
    for (const connection of connections.values()) {
      if (unread(connection, now)) end(connection.socket, 'unread')
      else if (connection.responses.length === 0 && now - connection.idleSince > limits.idleTimeout) {
        end(connection.socket, 'idle')
      }
    }
  }, checkEveryMs).unref()
  app.addHook('onClose', async () => clearInterval(timer))
}

/** Destroys connections, counts the reasons, and logs each at most once a minute. */
function connectionEnds({ registry, log }: { registry: Registry; log: Logger }) {
  const counter = new Counter({
    name: 'http_connections_ended_total',
    help: 'Connections that the gateway rejected or ended because of a limit, by reason',
    labelNames: ['reason'],
    registers: [registry]
  })
  const unlogged = new Map<Reason, { count: number; nextAt: number }>()
  for (const reason of Object.keys(reasons) as Reason[]) {
    counter.inc({ reason }, 0)
    unlogged.set(reason, { count: 0, nextAt: Number.NEGATIVE_INFINITY })
  }
  function record(reason: Reason): void {
    counter.inc({ reason })
    const state = unlogged.get(reason) as { count: number; nextAt: number }
    state.count += 1
    const now = performance.now()
    if (now < state.nextAt) return
    log.warn({ event: 'http_connection_ended', reason, count: state.count }, reasons[reason])
    unlogged.set(reason, { count: 0, nextAt: now + logEveryMs })
  }
  function end(socket: Socket, reason: Reason): void {
    record(reason)
    socket.destroy()
  }
  return Object.assign(end, { record })
}

/**
 * Whether the first response of a connection has been sent for longer than its client may take to read it. The others
 * wait behind it; a response is read when the kernel has taken its last byte.
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
