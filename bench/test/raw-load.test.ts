/** The raw client: split responses, broken connections, latencies from the intended start. */

import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openRawConnection, rawRequest, readResponse } from '../raw-http.ts'
import { rawLoad } from '../raw-load.ts'

async function listen(t: { teardown: (end: () => unknown) => void }, server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('readResponse finds the status and the end of a response', async (t) => {
  const response = Buffer.from('HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\nx: y\r\n\r\nhello')
  t.same(readResponse(Buffer.concat([response, response])), { status: 401, bytes: response.length })
  for (let length = 0; length < response.length; length += 1) {
    t.equal(readResponse(response.subarray(0, length)), undefined)
  }
  const empty = Buffer.from('HTTP/1.1 204 No Content\r\nx: y\r\n\r\n')
  t.same(readResponse(empty), { status: 204, bytes: empty.length })
  t.throws(() => readResponse(Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')), /content-length/)
})

t.test('rawRequest adds the type and the length of a body', async (t) => {
  const text = rawRequest('POST', 'http://127.0.0.1:80/auth', { a: 'b' }, { name: 'é' })
  t.match(text, /^POST \/auth HTTP\/1\.1\r\nhost: 127\.0\.0\.1\r\na: b\r\n/)
  t.match(text, /\r\ncontent-type: application\/json\r\ncontent-length: 13\r\n\r\n\{"name":"é"\}$/)
})

t.test('reads a split response; reports a broken connection as status 0 and reconnects', async (t) => {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
  })
  const url = await listen(t, server)
  const statuses: number[] = []
  let responded = Promise.withResolvers<void>()
  const connection = openRawConnection(url, (status) => {
    statuses.push(status)
    responded.resolve()
  })
  // The client reconnects on demand.
  const accepted = async () => {
    if (sockets.at(-1)?.writableEnded !== false) await once(server, 'connection')
    return sockets.at(-1) as Socket
  }
  const request = async (respond: (socket: Socket) => Promise<void>) => {
    responded = Promise.withResolvers()
    connection.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    await respond(await accepted())
    await responded.promise
  }
  await request(async (socket) => {
    for (const piece of ['HTTP/1.1 20', '0 OK\r\ncontent-le', 'ngth: 4\r\n\r\nab', 'cd']) {
      socket.write(piece)
      await sleep(20)
    }
  })
  await request(async (socket) => void socket.end('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab'))
  await request(async (socket) => void socket.write('HTTP/1.1 204 No Content\r\n\r\n'))
  t.same(statuses, [200, 0, 204])
  for (const socket of sockets) socket.destroy()
})

t.test('open loop: a stall of the server counts for every request that was due during it', async (t) => {
  let [stallsAt, requests] = [Number.POSITIVE_INFINITY, 0]
  const stallMs = 1500
  const server = createHttpServer(async (_, response) => {
    requests += 1
    if (requests === 1) stallsAt = performance.now() + 1200
    const leftMs = stallsAt + stallMs - performance.now()
    if (leftMs < stallMs) await sleep(Math.max(0, leftMs))
    response.setHeader('content-length', '0').end()
  })
  const url = await listen(t, server)
  const load = { url, connections: 4, seconds: 3, requests: [rawRequest('GET', url)] }
  const { latenciesMs, statuses } = await rawLoad({ ...load, ratePerSecond: 200 })
  t.same(Object.keys(statuses), ['200'])
  // In a closed loop with four connections, one request in a hundred would notice the stall.
  t.ok((latenciesMs[50] ?? 0) > stallMs / 10, `median ${latenciesMs[50]} ms`)
  t.ok((latenciesMs[100] ?? 0) > stallMs * 0.8, `slowest ${latenciesMs[100]} ms`)
})

t.test('closed loop: sendsEachOnce sends each request once', async (t) => {
  const seen: string[] = []
  const server = createHttpServer((request, response) => {
    seen.push(request.headers['x-number'] as string)
    response.statusCode = 204
    response.end()
  })
  const url = await listen(t, server)
  const numbers = Array.from({ length: 50 }, (_, number) => String(number))
  const requests = numbers.map((number) => rawRequest('DELETE', url, { 'x-number': number }))
  const result = await rawLoad({ url, connections: 3, seconds: 30, requests, sendsEachOnce: true })
  t.same(seen.toSorted(), numbers.toSorted())
  t.same(result.statuses, { 204: 50 })
})

t.test(
  'closed loop: repeatsPerConnection sends one request on each connection, and latencies have the status',
  async (t) => {
    const byPort = new Map<number | undefined, Set<string>>()
    const server = createHttpServer((request, response) => {
      const number = request.headers['x-number'] as string
      byPort.set(request.socket.remotePort, (byPort.get(request.socket.remotePort) ?? new Set()).add(number))
      response.statusCode = number === '0' ? 200 : 429
      response.setHeader('content-length', '0').end()
    })
    const url = await listen(t, server)
    const requests = ['0', '1'].map((number) => rawRequest('GET', url, { 'x-number': number }))
    const load = { url, connections: 2, seconds: 1, requests, repeatsPerConnection: true, cooldownMs: 0 }
    const { statuses, latenciesByStatusMs } = await rawLoad(load)
    t.same([...byPort.values()].map((numbers) => [...numbers]).toSorted(), [['0'], ['1']])
    t.same(Object.keys(statuses), ['200', '429'])
    t.ok((statuses[429] ?? 0) > 20, 'a rejected client does not pause')
    t.ok((latenciesByStatusMs[200]?.[50] ?? 0) > 0)
    t.ok((latenciesByStatusMs[429]?.[100] ?? 0) > 0)
  }
)
