/** Another server at a service's address: a proxy's page, another protocol, or no server. */

import { createServer as createHttp2Server } from 'node:http2'
import { createServer, type Server, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { routes, statuses, statusOfEach } from './all-routes.ts'
import { buildGateway, newSession, transportTo } from './gateway.ts'

const { headers } = newSession()

/** Listens until the test ends, and returns the gateway's transports to the server. */
async function transportsTo(t: Test, server: Server) {
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

function requireServerErrors(t: Test, seen: Record<string, number>, what: string): void {
  for (const { name, validates } of routes) {
    const status = seen[name] ?? 0
    t.ok(validates ? status === 503 : status >= 500, `${what}: ${name} ${status}`)
  }
}

t.test('answers server errors for any status of a proxy before the service', async (t) => {
  for (const status of [301, 400, 401, 403, 404, 429, 502, 503]) {
    const server = createHttp2Server((_, response) => {
      response.writeHead(status, { 'content-type': 'text/html', 'www-authenticate': 'Basic' })
      response.end('<h1>hunter2</h1>')
    })
    const { app } = await buildGateway(t, { parts: await transportsTo(t, server as unknown as Server) })
    requireServerErrors(t, await statuses(t, app, headers), String(status))
  }
})

t.test('answers 503 while the services are down', async (t) => {
  const { app } = await buildGateway(t, { parts: { userSvc: transportTo(1), sessionSvc: transportTo(1) } })
  t.same(
    await statuses(t, app, headers),
    statusOfEach(() => 503)
  )
})

t.test('answers server errors for a server of HTTP/1.1', async (t) => {
  const server = createServer((socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}'))
  const { app } = await buildGateway(t, { parts: await transportsTo(t, server) })
  requireServerErrors(t, await statuses(t, app, headers), 'HTTP/1.1')
})
