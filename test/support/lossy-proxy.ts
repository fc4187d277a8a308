/** A TCP proxy that can go silent without closing anything, as a network does that loses packets; it counts who connects. */

import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Test } from 'tap'

/** Starts to listen on a port, 0 for any; ends with the test. */
export async function startLossyProxy(t: Pick<Test, 'teardown'>, target: { host?: string; port: number }, port = 0) {
  const sockets = new Set<Socket>()
  /** When each connection came. */
  const openedAt: number[] = []
  let silent = false
  let server: Server | undefined

  function accept(client: Socket): void {
    openedAt.push(performance.now())
    keep(client)
    // Who connects to a silent network never gets through, also not later.
    if (silent) return void client.resume()
    const upstream = keep(connect({ host: '127.0.0.1', ...target }))
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.destroy())
    client.pipe(upstream).pipe(client)
  }

  function keep(socket: Socket): Socket {
    sockets.add(socket)
    return socket.on('close', () => sockets.delete(socket)).on('error', () => {})
  }

  async function open(): Promise<void> {
    const opening = createServer(accept)
    await new Promise<void>((resolve, reject) => opening.once('error', reject).listen(port, '127.0.0.1', resolve))
    port = (opening.address() as { port: number }).port
    server = opening
  }

  /** Refuses new connections and cuts those that there are. */
  async function close(): Promise<void> {
    const closing = server
    server = undefined
    const closed = new Promise<void>((resolve) => (closing ? closing.close(() => resolve()) : resolve()))
    for (const socket of sockets) socket.destroy()
    await closed
  }

  t.teardown(close)
  await open()
  return {
    port,
    openedAt,
    open,
    close,
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
