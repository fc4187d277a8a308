/** A TCP proxy that can go silent without closing anything, as a network does that loses packets; it counts who connects. */

import { connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** Starts to listen; ends with the test. */
export async function startLossyProxy(t: Pick<Test, 'teardown'>, to: { host?: string; port: number }) {
  const sockets = new Set<Socket>()
  /** When each connection came. */
  const openedAt: number[] = []
  let silent = false
  let target = { host: '127.0.0.1', ...to }

  function accept(client: Socket): void {
    openedAt.push(performance.now())
    keep(client)
    // Who connects to a silent network never gets through, also not later.
    if (silent) return void client.resume()
    const upstream = keep(connect(target))
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.destroy())
    client.pipe(upstream).pipe(client)
  }

  function keep(socket: Socket): Socket {
    sockets.add(socket)
    return socket.on('close', () => sockets.delete(socket)).on('error', () => {})
  }

  const server = createServer(accept)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  function cut(): void {
    for (const socket of sockets) socket.destroy()
  }

  t.teardown(() => {
    cut()
    return new Promise<void>((resolve) => server.close(() => resolve()))
  })
  return {
    port: (server.address() as { port: number }).port,
    openedAt,
    /** Cuts every connection; those that come from now on are made to another port. */
    moveTo(next: number): void {
      target = { ...target, port: next }
      cut()
    },
    /** From now on nothing gets through, and nobody is told. */
    fallSilent(): void {
      silent = true
      for (const socket of sockets) socket.removeAllListeners('close').unpipe().resume()
    },
    /** Lets new connections through. Those that fell silent stay so. */
    speak(): void {
      silent = false
    }
  }
}

/** The most connections that came within one second. */
export function mostPerSecond(openedAt: number[]): number {
  return Math.max(0, ...openedAt.map((at) => openedAt.filter((each) => each >= at && each < at + 1000).length))
}
