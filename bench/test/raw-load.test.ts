/** The raw client: responses in pieces, broken connections, and latencies from the intended start. */

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

t.test('a response has a status and an end', async (t) => {
  const response = Buffer.from('HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\nx: y\r\n\r\nhello')
  t.same(readResponse(Buffer.concat([response, response])), { status: 401, bytes: response.length })
  for (let length = 0; length < response.length; length += 1) {
    t.equal(readResponse(response.subarray(0, length)), undefined)
  }
  const empty = Buffer.from('HTTP/1.1 204 No Content\r\nx: y\r\n\r\n')
  t.same(readResponse(empty), { status: 204, bytes: empty.length })
  t.throws(() => readResponse(Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')), /content-length/)
})

t.test('a request carries its body with type and length', async (t) => {
  const text = rawRequest('POST', 'http://127.0.0.1:80/auth', { a: 'b' }, { name: 'é' })
  t.match(text, /^POST \/auth HTTP\/1\.1\r\nhost: 127\.0\.0\.1\r\na: b\r\n/)
  t.match(text, /\r\ncontent-type: application\/json\r\ncontent-length: 13\r\n\r\n\{"name":"é"\}$/)
})

t.test(
  'a response in pieces is one response; a broken connection is status 0, and another connection follows',
  async (t) => {
    const sockets: Socket[] = []
    const server = createServer((socket) => {
      sockets.push(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
    })
    const url = await listen(t, server)
    const statuses: number[] = []
    let answered = Promise.withResolvers<void>()
    const connection = openRawConnection(url, (status) => {
      statuses.push(status)
      answered.resolve()
    })
    // The client opens another connection when it needs one.
    const accepted = async () => {
      if (sockets.at(-1)?.writableEnded !== false) await once(server, 'connection')
      return sockets.at(-1) as Socket
    }
    const request = async (respond: (socket: Socket) => Promise<void>) => {
      answered = Promise.withResolvers()
      connection.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
      await respond(await accepted())
      await answered.promise
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
  }
)

t.test('a stall of the server counts for every request that was due meanwhile', async (t) => {
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
  // Four connections alone would have shown the stall to one request in a hundred.
  t.ok((latenciesMs[50] ?? 0) > stallMs / 10, `median ${latenciesMs[50]} ms`)
  t.ok((latenciesMs[100] ?? 0) > stallMs * 0.8, `slowest ${latenciesMs[100]} ms`)
})

t.test('a closed loop sends each request once where that is asked', async (t) => {
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
