/** Requests that break or stall after their start: each gets at most one complete response, and the process survives. */

import t, { type Test } from 'tap'
import { answersIn, firstAnswer, head, sendBytes } from './bytes.ts'
import { buildGateway, credentials, listen, newSession, requireForm } from './gateway.ts'

let calls = 0
const { session, headers } = newSession()
const connections = {
  max: 1000,
  maxPerNetwork: 500,
  maxPipelined: 32,
  maxStreams: 100,
  receiveTimeout: 1000,
  unreadTimeout: 30_000
}
const { app } = await buildGateway(t, {
  options: { connections },
  users: {
    registerAndLogin() {
      calls += 1
      return {}
    }
  },
  sessions: { validateSession: () => ({ result: { case: 'session', value: session } }) }
})
const port = await listen(app)
const authorization = `Authorization: ${headers.authorization}`
const body = JSON.stringify(credentials)
const requireProblem = (t: Test, answer: string, status: number, what: string) =>
  requireForm(t, firstAnswer(answer), status, `${what.slice(0, 60)} =>`)

/** The gateway still answers other requests. */
async function requireAlive(t: Test) {
  t.equal((await app.inject({ url: '/session', headers })).statusCode, 200)
}

t.test('survives a body with a malformed chunk', async (t) => {
  const chunked = ['Content-Type: application/json', 'Transfer-Encoding: chunked']
  for (const start of [head('POST /reg HTTP/1.1', ...chunked), head('DELETE /nope HTTP/1.1', ...chunked)]) {
    const answer = await sendBytes(port, `${start}5\r\n{"ema\r\nZZ\r\n`, 500)
    t.ok(answersIn(answer).length <= 1, answer)
    if (answer !== '' && !answer.startsWith('HTTP/1.1 404')) requireProblem(t, answer, 400, 'a broken chunk')
  }
  t.equal(calls, 0)
  await requireAlive(t)
})

t.test('survives malformed bytes behind a request', async (t) => {
  const answer = await sendBytes(port, `${head('GET /session HTTP/1.1', authorization)}garbage\r\n\r\n`, 500)
  t.ok(answersIn(answer).length <= 2, answer)
  await requireAlive(t)
})

t.test(
  'answers 408 to a request whose header or body does not arrive within `gateway.connections.receiveTimeout`',
  async (t) => {
    const late = [
      'GET /session HTTP/1.1\r\nHost: x\r\n',
      `${head('POST /reg HTTP/1.1', 'Content-Type: application/json', `Content-Length: ${body.length}`)}{`
    ]
    const startedAt = performance.now()
    const answers = await Promise.all(late.map((text) => sendBytes(port, text, 9000)))
    t.ok(performance.now() - startedAt < 8000, 'sooner than with the default')
    for (const [index, answer] of answers.entries()) requireProblem(t, answer, 408, `${late[index]}`)
    await requireAlive(t)
  }
)
