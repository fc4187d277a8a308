/** A minimal load balancer: each connection goes to the first instance that accepts it. */

import { connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** Listens on a free port until the end of the test. */
export async function startFailoverProxy(t: Pick<Test, 'teardown'>, ports: number[]): Promise<number> {
  const sockets = new Set<Socket>()

  function keep(socket: Socket): Socket {
    sockets.add(socket)
    return socket.on('close', () => sockets.delete(socket)).on('error', () => {})
  }

  function forward(client: Socket, [port, ...others]: number[]): void {
    if (port === undefined) return void client.destroy()
    const upstream = keep(connect(port, '127.0.0.1'))
    const next = () => forward(client, others)
    upstream.once('error', next)
    upstream.once('connect', () => {
      upstream.off('error', next)
      upstream.on('close', () => client.destroySoon())
      client.on('close', () => upstream.destroy())
      client.pipe(upstream).pipe(client)
    })
  }

  const server = createServer((client) => forward(keep(client), ports))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise<void>((resolve) => server.close(() => resolve()))
  })
  return (server.address() as { port: number }).port
}
