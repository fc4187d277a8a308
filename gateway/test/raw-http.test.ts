/** What arrives on the bare socket: answered as problem+json or cut, never twice, and never the end of the process. */

import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { authorization, buildGateway, token } from './service.ts'

const { app, registry } = await buildGateway(t)
await app.listen({ host: '127.0.0.1', port: 0 })
const { port } = app.server.address() as { port: number }

/** Sends a text, ends, and gives what came back. */
function say(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.end(text))
    let answer = ''
    socket.on('data', (chunk) => {
      answer += chunk
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}

const json = 'Host: x\r\nContent-Type: application/json\r\n'
const chunked = `POST /auth HTTP/1.1\r\n${json}Transfer-Encoding: chunked\r\n\r\n`
const valid = `GET /session HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization.authorization}\r\n\r\n`

t.test('what is not well-formed has one answer, and the connection ends', async (t) => {
  const cases: [string, number][] = [
    ['GARBAGE\r\n\r\n', 400],
    ['GET /session HTTP/9.9\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n', 400],
    [`POST /reg HTTP/1.1\r\n${json}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /`, 400],
    [`GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`, 431],
    [`${chunked}ZZ\r\n`, 400],
    [`POST /auth HTTP/1.1\r\n${json}Transfer-Encoding: xchunked\r\n\r\n`, 400],
    ['GET /session HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ['GET /session HTTP/1.1\r\nConnection: close\r\nHost: x\r\nHost: y\r\n\r\n', 400],
    [`GET /session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nAuthorization: Bearer x\r\n\r\n`, 400],
    [`POST /reg HTTP/1.1\r\n${json}Content-Length: 200000\r\nExpect: 100-continue\r\n\r\n`, 413],
    ['GET /session HTTP/1.1\r\nHost: x\r\nExpect: the-moon\r\n\r\n', 417]
  ]
  for (const [text, status] of cases) {
    const answer = await say(text)
    t.match(answer, new RegExp(`^HTTP/1.1 ${status} `), text.slice(0, 60))
    t.match(answer, /content-type: application\/problem\+json/i)
    t.match(answer, /cache-control: no-store/i)
    t.match(answer, /"traceId":"[0-9a-f]{32}"/)
    t.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1, 'one answer')
  }
})

t.test('clients that break off or go on with garbage harm nobody, and are no fault of the server', async (t) => {
  const half = `POST /auth HTTP/1.1\r\n${json}Content-Length: 80\r\n\r\n{"em`
  await Promise.all(Array.from({ length: 20 }, () => say(half)))
  const aborted = connect(port, '127.0.0.1', () => aborted.write(half, () => aborted.resetAndDestroy()))
  await sleep(100)
  t.match(await say(`${valid}GARBAGE\r\n\r\n`), /^HTTP\/1\.1 /)
  t.notMatch(await registry.metrics(), /request_errors_total\{error_class="server",code="[a-z_]+"\} [1-9]/)
  t.match(await say(valid), /^HTTP\/1\.1 200/)
})

t.test('closing waits for nobody who has not sent a whole request', async (t) => {
  const { app: closing } = await buildGateway(t)
  await closing.listen({ host: '127.0.0.1', port: 0 })
  const { port: closingPort } = closing.server.address() as { port: number }
  const texts = ['', 'GET /session HT', `POST /auth HTTP/1.1\r\n${json}Content-Length: 80\r\n\r\n{"em`]
  for (const text of texts)
    connect(closingPort, '127.0.0.1', () => {})
      .on('error', () => {})
      .write(text || Buffer.alloc(0))
  const idle = await fetch(`http://127.0.0.1:${closingPort}/session`, { headers: authorization })
  t.equal(idle.status, 200)
  await sleep(100)
  const startedAt = performance.now()
  await closing.close()
  const took = performance.now() - startedAt
  t.ok(took < 2000, `${Math.round(took)} ms`)
})
