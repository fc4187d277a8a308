/** What listens at a service's address may not be the service: a proxy's page, another protocol, or nothing. */

import { createServer as createHttp2Server } from 'node:http2'
import { createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { statuses } from './all-routes.ts'
import { buildGateway, newSession, transportTo } from './gateway.ts'

const { headers } = newSession()

/** The gateway's way to a server that is none of its services. */
async function wayTo(t: Test, server: ReturnType<typeof createServer>) {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => {})))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as { port: number }
  const transport = transportTo(port)
  return { userSvc: transport, sessionSvc: transport }
}

t.test('what a proxy in between says is no answer of the service', async (t) => {
  for (const status of [301, 400, 401, 403, 404, 429, 502, 503]) {
    const server = createHttp2Server((_, response) => {
      response.writeHead(status, { 'content-type': 'text/html', 'www-authenticate': 'Basic' })
      response.end('<h1>hunter2</h1>')
    })
    const parts = await wayTo(t, server as unknown as ReturnType<typeof createServer>)
    const { app } = await buildGateway(t, { parts })
    const seen = await statuses(t, app, headers)
    t.ok(
      seen.every((each) => each >= 500),
      `${status}: ${seen}`
    )
    t.same(seen.slice(3), [503, 503])
  }
})

t.test('services that are away or speak another language', async (t) => {
  const { app: away } = await buildGateway(t, { parts: { userSvc: transportTo(1), sessionSvc: transportTo(1) } })
  t.same(await statuses(t, away, headers), [503, 503, 503, 503, 503])
  const parts = await wayTo(
    t,
    createServer((socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}'))
  )
  const { app: confused } = await buildGateway(t, { parts })
  const seen = await statuses(t, confused, headers)
  t.ok(
    seen.every((status) => status >= 500),
    String(seen)
  )
  t.same(seen.slice(3), [503, 503])
})
