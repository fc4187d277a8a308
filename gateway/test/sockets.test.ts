/** Malformed, ambiguous, smuggled and pipelined requests, as bytes: each gets one complete response. */

import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { until } from '#common/testing/until.ts'
import { answersIn, firstAnswer, head, sendBytes } from './bytes.ts'
import { buildGateway, credentials, listen, loginAnswer, newSession, requireForm, workingServices } from './gateway.ts'

let calls = 0
const user = newSession()
const { headers } = user
const services = workingServices(user)
const registerAndLogin = () => {
  calls += 1
  return loginAnswer()
}
const { app } = await buildGateway(t, { ...services, users: { ...services.users, registerAndLogin } })
const port = await listen(app)
const authorization = `Authorization: ${headers.authorization}\r\n`
const json = 'Content-Type: application/json'
const body = JSON.stringify(credentials)
const send = (text: string, ms?: number) => sendBytes(port, text, ms)
const requireProblem = (t: Test, answer: string, status: number, what: string) =>
  requireForm(t, firstAnswer(answer), status, `${what.slice(0, 60)} =>`)

t.test('answers a malformed or ambiguous request by one problem', async (t) => {
  const malformed: [text: string, status: number][] = [
    ['garbage\r\n\r\n', 400],
    ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
    [head('FOO /session HTTP/1.1'), 400],
    [head('GET /session HTTP/1.1', 'Bad Header: x'), 400],
    [head('GET /session HTTP/1.1', 'A: b\x00c'), 400],
    [head('GET /session HTTP/1.1', ' folded: x'), 400],
    [head('POST /reg HTTP/1.1', 'Content-Length: 5', 'Content-Length: 6'), 400],
    [head('POST /reg HTTP/1.1', 'Content-Length: +5'), 400],
    [head('POST /reg HTTP/1.1', 'Content-Length: 5', 'Transfer-Encoding: chunked'), 400],
    [head('POST /reg HTTP/1.1', 'Transfer-Encoding: chunked, identity'), 400],
    [`${head('POST /reg HTTP/1.1', 'Transfer-Encoding: gzip, chunked')}0\r\n\r\n`, 400],
    [`${head('POST /reg HTTP/1.1', 'Transfer-Encoding: identity, chunked')}0\r\n\r\n`, 400],
    [`${head('POST /reg HTTP/1.0', 'Transfer-Encoding: chunked')}0\r\n\r\n`, 400],
    [head('GET /livez HTTP/2.0'), 400],
    [head('GET /livez HTTP/0.9'), 400],
    [head('GET /session HTTP/1.1', `A: ${'x'.repeat(20_000)}`), 431],
    [head(`GET /${'x'.repeat(20_000)} HTTP/1.1`), 431],
    ['GET /session HTTP/9.9\r\n\r\n', 400],
    ['GET /session HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    [head('GET /session HTTP/1.1', 'Host: y'), 400],
    [head('GET /session HTTP/1.1', authorization.trim(), 'Authorization: Bearer x'), 400],
    [head('POST /reg HTTP/1.1', 'Transfer-Encoding: xchunked'), 400],
    [head('POST /reg HTTP/1.1', json, 'Content-Length: 200000', 'Expect: 100-continue'), 413],
    [head('GET /session HTTP/1.1', 'Expect: nonsense'), 417],
    [head('GET /%zz HTTP/1.1'), 400],
    [head('GET /session%ff HTTP/1.1'), 400]
  ]
  for (const [text, status] of malformed) {
    const answer = await send(text, 300)
    requireProblem(t, answer, status, JSON.stringify(text))
    t.equal(answersIn(answer).length, 1, 'one response')
  }
  t.equal(calls, 0)
})

t.test('a request that no hook counts ends its connection', async (t) => {
  for (const path of ['/%zz', '/session%ff']) {
    const answer = await send(head(`GET ${path} HTTP/1.1`) + head('GET /session HTTP/1.1', authorization.trim()), 300)
    t.equal(answersIn(answer).length, 1, path.slice(0, 20))
    t.match(firstAnswer(answer), { statusCode: 400, headers: { connection: 'close' } })
  }
})

t.test('ignores the content type of a request without a body', async (t) => {
  const requests: [request: string, status: number][] = [
    ['DELETE /logout', 204],
    ['DELETE /delete', 204],
    ['POST /reg', 400],
    ['POST /auth', 400],
    ['GET /session', 200],
    ['POST /nowhere', 404],
    ['PUT /session', 405]
  ]
  for (const [request, status] of requests) {
    for (const type of ['application/json', 'Application/JSON; charset=utf-8']) {
      const text = head(`${request} HTTP/1.1`, `Content-Type: ${type}`, `Authorization: ${headers.authorization}`)
      const answer = await send(text, 300)
      requireForm(t, firstAnswer(answer), status, request)
      t.equal(answersIn(answer).length, 1, 'one response')
    }
  }
  t.equal(app.requestsInFlight(), 0)
})

t.test('answers 404 or 405 without reading the body', async (t) => {
  const requests: [request: string, status: number][] = [
    ['QUERY /session', 405],
    ['PUT /session', 405],
    ['POST /nowhere', 404],
    ['QUERY /nowhere', 404]
  ]
  for (const [request, status] of requests) {
    for (const fields of [[], ['Content-Type: text/plain'], ['Content-Type: application/json']]) {
      const bodies = ['', '{', '{}', 'x'.repeat(20_000)]
      for (const body of bodies) {
        const answer = await send(
          `${head(`${request} HTTP/1.1`, ...fields, `Content-Length: ${body.length}`)}${body}`,
          300
        )
        requireForm(t, firstAnswer(answer), status, `${request} ${fields} ${body.slice(0, 9)}`)
        t.equal(answersIn(answer).length, 1, 'one response')
      }
    }
  }
})

t.test('makes no call for a client that disconnects in the middle of its body', async (t) => {
  const start = head('POST /reg HTTP/1.1', 'Content-Type: application/json', `Content-Length: ${body.length}`)
  for (const text of [start, start + body.slice(0, 10)]) {
    const client = connect(port, '127.0.0.1', () => client.write(text))
    await until('the request arrives', () => app.requestsInFlight() === 1)
    client.destroy()
    await until('the request has ended', () => app.requestsInFlight() === 0)
  }
  t.equal(calls, 0)
})

t.test('answers pipelined requests in order, each by its own credential', async (t) => {
  const one = head('GET /session HTTP/1.1', authorization.trim())
  const two = `${head('POST /reg HTTP/1.1', 'Content-Type: application/json', `Content-Length: ${body.length}`)}${body}`
  const three = head('GET /session HTTP/1.1', 'Connection: close')
  t.same(answersIn(await send(one + two + three)), ['HTTP/1.1 200', 'HTTP/1.1 201', 'HTTP/1.1 401'])
})

t.test('answers no request that is hidden behind an ambiguous body', async (t) => {
  const hidden = head('DELETE /logout HTTP/1.1', authorization.trim())
  const smuggled = [
    `${head('POST /reg HTTP/1.1', json, 'Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n${hidden}`,
    `${head('POST /reg HTTP/1.1', json, 'Transfer-Encoding : chunked')}0\r\n\r\n${hidden}`,
    `${head('POST /reg HTTP/1.1', json, 'Transfer-Encoding: xchunked')}0\r\n\r\n${hidden}`,
    head('POST /reg HTTP/1.1', json, 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity') +
      `0\r\n\r\n${hidden}`,
    head('POST /reg HTTP/1.1', json, 'Content-Length: 0\r\n\tContent-Length: 99') + hidden,
    `${head('POST /reg HTTP/1.1', json, 'Transfer-Encoding:\x0bchunked')}0\r\n\r\n${hidden}`,
    `${head('POST /reg HTTP/1.1', json, 'Transfer-Encoding: chunked')}0;x=\n\r\n${hidden}`
  ]
  for (const text of smuggled) {
    const answer = await send(text, 400)
    t.equal(answersIn(answer).length, 1, JSON.stringify(text.slice(0, 110)))
    t.match(answer, /^HTTP\/1\.1 400 /)
  }
})
