/**
 * HTTP/1.1 over TLS: a client that has a whole response sends its next request before the server knows that the response is
 * written. The client is a thread, because the server blocks its own.
 */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { createTestCa } from '#common/testing/certificates.ts'
import { terminateTls } from '#common/tls/termination.ts'

// More than the buffer of a socket, so that the server waits for its `drain`, and less than one write of TLS.
const largeBytes = 100_000

const server = createServer(async (request, response) => {
  if (request.method === 'POST') return void response.end(`read ${(await text(request)).length}`)
  setImmediate(() => {
    response.end(Buffer.alloc(largeBytes))
    // Until the next request is here.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
  })
})
const requests: { errors: string[]; connections: number } = { errors: [], connections: 0 }
server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
  requests.errors.push(String(error.code))
  socket.destroy()
})
server.on('connection', () => {
  requests.connections += 1
})
terminateTls(server, createTestCa(t).issue('server'), ['http/1.1'])
server.listen(0, '127.0.0.1')
await once(server, 'listening')
t.teardown(() => server.close().closeAllConnections())

const client = `
const https = require('node:https')
const { parentPort, workerData: port } = require('node:worker_threads')
const agent = new https.Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false })
function call(method, body) {
  return new Promise((resolve, reject) => {
    const request = https.request({ port, host: '127.0.0.1', method, agent }, (response) => {
      let length = 0
      let text = ''
      response.on('data', (data) => { length += data.length; text = String(data).slice(-20) })
      response.on('end', () => resolve({ length, text }))
    })
    request.on('error', reject)
    // The headers and the body are two records, which arrive while the server is blocked.
    request.flushHeaders()
    setTimeout(() => request.end(body), 50)
  })
}
call('GET').then((first) => call('POST', 'x'.repeat(1000)).then((second) => [first.length, second.text])).catch((error) => error.code).then((result) => {
  agent.destroy()
  parentPort.postMessage(result)
})
`

t.test('the body of a request that arrives early does not end its connection', async (t) => {
  const worker = new Worker(client, { eval: true, workerData: (server.address() as AddressInfo).port })
  const [result] = await once(worker, 'message')
  t.same(result, [largeBytes, 'read 1000'])
  t.same(requests, { errors: [], connections: 1 })
})
