/** A TCP proxy in front of an engine or a service, for tests that take it down, delay it, lose its packets, and restore it. */

import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * The treatment of connections.
 * - `pass`: bytes pass.
 * - `slow`: bytes pass with a delay.
 * - `unresponsive`: bytes wait for the next mode; connections are accepted.
 * - `lose`: bytes are lost and no connection is closed, like in a network that loses packets. Connections of this time stay lost.
 * - `reset`: all connections are reset, and new ones too.
 * - `refuse`: all connections are reset, and new ones are refused.
 */
type ProxyMode = 'pass' | 'slow' | 'unresponsive' | 'lose' | 'reset' | 'refuse'

/** Both directions together add 300 ms to a round trip. */
const slowMs = 150

/** Listens on `port`, 0 for any free one. The target may get its port later. `close` resets all connections. */
export async function startTcpProxy(port: number, target: { host?: string; port: number }) {
  const sockets = new Set<Socket>()
  const lost = new WeakSet<Socket>()
  const openedAt: number[] = []
  let address = target
  let mode: ProxyMode = 'pass'
  let release: () => void = () => {}
  let open: Promise<void> = Promise.resolve()
  let listening = port
  let endedByTarget = 0

  /** Forwards the bytes and the end of one side in order. */
  function forward(from: Socket, to: Socket): void {
    let last = Promise.resolve()
    const later = (act: () => void) => {
      const dueAt = performance.now() + (mode === 'slow' ? slowMs : 0)
      last = last.then(async () => {
        const waitMs = dueAt - performance.now()
        if (waitMs > 0) await sleep(waitMs)
        await open
        if (!lost.has(from)) act()
      })
    }
    keep(from)
    from.on('data', (chunk) => later(() => to.write(chunk)))
    from.on('end', () => later(() => to.end()))
    from.on('close', (hadError) => {
      if (hadError && !lost.has(from)) cut(to)
    })
  }

  function keep(socket: Socket): void {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
  }

  const server: Server = createServer({ allowHalfOpen: true }, (client) => {
    openedAt.push(performance.now())
    if (mode === 'reset') return cut(client)
    if (mode === 'lose') {
      keep(client.resume())
      return
    }
    const upstream = connect({ host: '127.0.0.1', ...address, allowHalfOpen: true })
    // The side that closes first ends the connection.
    upstream.once('end', () => {
      if (!client.readableEnded && !client.destroyed) endedByTarget += 1
    })
    forward(client, upstream)
    forward(upstream, client)
  })

  async function listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(listening, '127.0.0.1', () => {
        server.off('error', reject)
        resolve()
      })
    })
    listening = (server.address() as { port: number }).port
  }

  function unlisten(): Promise<void> {
    return new Promise((resolve) => (server.listening ? server.close(() => resolve()) : resolve()))
  }

  function cutAll(): void {
    for (const socket of sockets) cut(socket)
  }

  await listen()
  return {
    port: listening,
    /** When each connection was accepted. */
    openedAt,
    /** The number of connections that the target ended, and not its client. */
    endedByTarget: () => endedByTarget,
    async become(next: ProxyMode): Promise<void> {
      mode = next
      release()
      open = next === 'unresponsive' ? new Promise((resolve) => (release = resolve)) : Promise.resolve()
      if (next === 'lose') for (const socket of sockets) lost.add(socket)
      if (next === 'reset' || next === 'refuse') cutAll()
      if (next === 'refuse') await unlisten()
      else if (!server.listening) await listen()
    },
    /** Resets all connections and forwards new ones to another port. */
    moveTo(next: number): void {
      address = { ...address, port: next }
      cutAll()
    },
    async close(): Promise<void> {
      release()
      cutAll()
      await unlisten()
    }
  }
}

/** Resets a connection. Node.js 24 would never close a connection that is ending; no upstream issue known. */
function cut(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}
