/** A TCP proxy in front of an engine or a service, for tests that take it away, slow it down, cut it off, and give it back. */

import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * What becomes of connections: bytes pass; they pass late; they are held back, and connections are accepted and never
 * answered; all are reset; none is accepted.
 */
type ProxyMode = 'pass' | 'slow' | 'mute' | 'reset' | 'refuse'

/** Both ways together are a round trip that takes 300 ms longer. */
const slowMs = 150

/** Starts to listen, on any free port if none is named; `close` also cuts every connection. The target may be changed later. */
export async function startTcpProxy(port: number, target: { host: string; port: number }) {
  const sockets = new Set<Socket>()
  let mode: ProxyMode = 'pass'
  let release: () => void = () => {}
  let open: Promise<void> = Promise.resolve()
  let listening = 0
  let endedByTarget = 0

  /** Hands on what comes from one side, in its order, when its time has come. */
  function handOn(from: Socket, to: Socket): void {
    let last = Promise.resolve()
    const later = (act: () => void) => {
      const dueAt = performance.now() + (mode === 'slow' ? slowMs : 0)
      last = last.then(async () => {
        const restMs = dueAt - performance.now()
        if (restMs > 0) await sleep(restMs)
        await open
        act()
      })
    }
    sockets.add(from)
    from.on('data', (chunk) => later(() => to.write(chunk)))
    from.on('end', () => later(() => to.end()))
    from.on('error', () => {})
    from.on('close', (hadError) => {
      sockets.delete(from)
      if (hadError) cut(to)
    })
  }

  const server: Server = createServer({ allowHalfOpen: true }, (client) => {
    if (mode === 'reset') {
      cut(client)
      return
    }
    const upstream = connect({ ...target, allowHalfOpen: true })
    // Of two sides that close, the first one ends the connection.
    upstream.once('end', () => {
      if (!client.readableEnded && !client.destroyed) endedByTarget += 1
    })
    handOn(client, upstream)
    handOn(upstream, client)
  })

  async function listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(listening || port, '127.0.0.1', () => {
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
    /** Connections that the target ended, and not its client. */
    endedByTarget: () => endedByTarget,
    async become(next: ProxyMode): Promise<void> {
      mode = next
      release()
      open = next === 'mute' ? new Promise((resolve) => (release = resolve)) : Promise.resolve()
      if (next === 'reset' || next === 'refuse') cutAll()
      if (next === 'refuse') await unlisten()
      else if (!server.listening) await listen()
    },
    async close(): Promise<void> {
      release()
      cutAll()
      await unlisten()
    }
  }
}

/** Resets a connection. One that is being ended cannot be: Node.js would never close it. */
function cut(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}
