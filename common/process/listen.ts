/**
 * Accepts connections on every address of a host for one server, so that a listener on the server (`connection`, `request`,
 * `checkContinue`, `clientError`, `stream`) and its `close()` reach all addresses.
 *
 * Fastify creates a second server for the second address of `localhost`, without the listeners of the first, and `close()`
 * does not wait for its requests: fastify/fastify#7043. Remove when Fastify drains all of its servers and exposes them.
 */

import dns from 'node:dns'
import net from 'node:net'
import type { FastifyInstance, FastifyListenOptions } from 'fastify'

/** Makes `app.listen()` accept connections on every address of `host`. */
export function listenOnEveryAddress(app: Pick<FastifyInstance, 'listen'> & { server: net.Server }): void {
  const listen = app.listen.bind(app) as (options: FastifyListenOptions) => Promise<string>
  const listenAll = ({ host = 'localhost', ...options }: FastifyListenOptions = {}) =>
    listenAt(app.server, host, (address) => listen({ ...options, host: address }))
  app.listen = listenAll as FastifyInstance['listen']
}

/**
 * Listens on every address of a host.
 *
 * @param listenFirst makes the server itself listen on the first usable address
 * @throws the error of the first address that is in use, or of the last one if the machine has none of them
 */
export async function listenAt<T extends {}>(
  server: net.Server,
  host: string,
  listenFirst: (address: string) => Promise<T>
): Promise<T> {
  const [first = host, ...others] = await addressesOf(host)
  let result = await listenFirst(first).catch(unlessMissing(others.length > 0))
  while (result === undefined) {
    const next = others.shift() as string
    result = await listenFirst(next).catch(unlessMissing(others.length > 0))
  }
  const { port } = server.address() as net.AddressInfo
  const listeners: net.Server[] = []
  closeWith(server, listeners)
  for (const address of others) {
    const listener = await forward(server, address, port).catch(unlessMissing(true))
    if (listener !== undefined) listeners.push(listener)
  }
  return result
}

/** Through the module's property, so that a process can replace the resolver. */
async function addressesOf(host: string): Promise<string[]> {
  if (host === '' || net.isIP(host) !== 0) return [host]
  const found = await new Promise<dns.LookupAddress[]>((resolve, reject) => {
    dns.lookup(host, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)))
  })
  return [...new Set(found.map(({ address }) => address))]
}

/** Ignores that the machine lacks an address or its family, as `::1` where IPv6 is off, if `othersLeft`. */
function unlessMissing(othersLeft: boolean) {
  return (error: NodeJS.ErrnoException): undefined => {
    if (!othersLeft || !['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(error.code ?? '')) throw error
  }
}

interface SocketOptions {
  allowHalfOpen?: boolean
  noDelay?: boolean
  highWaterMark?: number
}

/** Listens on one more address and passes its connections to the server, which Node.js documents for `connection`. */
function forward(server: net.Server & SocketOptions, host: string, port: number): Promise<net.Server> {
  const { allowHalfOpen = false, noDelay = false, highWaterMark } = server
  const options = { allowHalfOpen, noDelay, ...(highWaterMark !== undefined && { highWaterMark }) }
  const listener = net.createServer(options, (socket) => server.emit('connection', socket))
  return new Promise((resolve, reject) => {
    listener.once('error', reject)
    // The server decides how long the process lives.
    listener.listen({ host, port }, () => resolve(listener.unref()))
  })
}

/** `server.close()` stops all listeners and calls back when the connections of all of them have ended. */
function closeWith(server: net.Server, listeners: net.Server[]): void {
  const close = server.close.bind(server)
  server.close = (callback) => {
    const closed = Promise.all(listeners.map((listener) => new Promise((resolve) => listener.close(resolve))))
    return close((error) => void closed.then(() => callback?.(error)))
  }
}
