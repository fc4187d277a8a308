/** The body of a route without one: it must be empty, with any content type and framing. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { routes } from './all-routes.ts'
import { answersIn, firstAnswer, head, sendBytes } from './bytes.ts'
import { buildGateway, listen, newSession, requireForm, workingServices } from './gateway.ts'

const user = newSession()
const { headers } = user
const { app } = await buildGateway(t, workingServices(user))
const port = await listen(app)
const credential = `Authorization: ${headers.authorization}`
const types = [
  undefined,
  '',
  'text/plain',
  'application/json',
  'application/x-www-form-urlencoded',
  'no type',
  'application/json; charset=latin1'
]
const framings = {
  none: [],
  length: ['Content-Length: 0'],
  zeros: ['Content-Length: 000'],
  chunked: ['Transfer-Encoding: chunked']
}
const bodyless: [request: string, status: number][] = [
  ...routes
    .filter(({ payload }) => !payload)
    .map(({ method, url, success }): [string, number] => [`${method} ${url}`, success]),
  ['HEAD /session', 200],
  ['GET /openapi.json', 200]
]

/** Sends a request and another one behind it on the same connection. */
async function send(request: string, fields: string[], body = ''): Promise<string> {
  const behind = head('GET /nowhere HTTP/1.1', 'Connection: close')
  return sendBytes(port, head(`${request} HTTP/1.1`, credential, ...fields) + body + behind, 5000)
}

/** Sends a request on a connection of its own. */
const ask = async (request: string, fields: string[], body = '') =>
  firstAnswer(
    await sendBytes(port, head(`${request} HTTP/1.1`, credential, 'Connection: close', ...fields) + body, 5000)
  )

const typeField = (type: string | undefined) => (type === undefined ? [] : [`Content-Type: ${type}`])

await fieldCase(t, 4, 'an empty body of any type and framing is no body', async (t) => {
  for (const [request, status] of [...bodyless, ['POST /nowhere', 404], ['PUT /session', 405]] as const) {
    for (const type of types) {
      for (const [framing, fields] of Object.entries(framings)) {
        const answer = await send(request, [...typeField(type), ...fields], framing === 'chunked' ? '0\r\n\r\n' : '')
        t.same(answersIn(answer), [`HTTP/1.1 ${status}`, 'HTTP/1.1 404'], `${request} ${type} ${framing}`)
      }
    }
  }
  t.equal(app.requestsInFlight(), 0)
})

await fieldCase(t, 4, '`curl -X DELETE -d ""` and `fetch(url, {body: ""})` log out', async (t) => {
  const url = `http://127.0.0.1:${port}/logout`
  const text = { ...headers, 'content-type': 'text/plain' }
  t.equal((await fetch(url, { method: 'DELETE', headers, body: '' })).status, 204)
  t.equal((await fetch(url, { method: 'DELETE', headers: text, body: '' })).status, 204)
  const stream = new ReadableStream({ start: (controller) => controller.close() })
  t.equal((await fetch(url, { method: 'DELETE', headers, body: stream, duplex: 'half' })).status, 204, 'chunked')
  const options = [
    [],
    ['-H', 'Content-Type: text/plain'],
    ['-H', 'Content-Type:'],
    ['-H', 'Transfer-Encoding: chunked']
  ]
  for (const option of options) {
    const args = ['-s', '-o', '/dev/null', '-w', '%{http_code}', '-X', 'DELETE', url, '-H', credential, '-d', '']
    const { stdout } = await promisify(execFile)('curl', [...args, ...option])
    t.equal(stdout, '204', option.join(' '))
  }
})

await fieldCase(t, 4, 'a route without a body answers 400 to a body', async (t) => {
  for (const [request] of bodyless.filter(([request]) => !request.startsWith('HEAD'))) {
    for (const type of types) {
      for (const [fields, body] of [
        [['Content-Length: 7'], '{"a":1}'],
        [['Transfer-Encoding: chunked'], '7\r\n{"a":1}\r\n0\r\n\r\n']
      ] as const) {
        const answer = await ask(request, [...typeField(type), ...fields], body)
        if (type === 'application/json; charset=latin1' && !request.startsWith('GET')) {
          requireForm(t, answer, 415, `${request} ${type}`)
          continue
        }
        const problem = requireForm(t, answer, 400, `${request} ${type}`)
        const detail = 'must be empty: this route takes none'
        t.same(problem.errors, [{ field: 'body', pointer: '#', code: 'invalid', detail }])
      }
    }
  }
})

t.test('a route with a body rejects an empty body and any type but JSON', async (t) => {
  for (const { name: request } of routes.filter(({ payload }) => payload)) {
    for (const type of types) {
      for (const [framing, fields] of Object.entries(framings)) {
        const answer = await ask(request, [...typeField(type), ...fields], framing === 'chunked' ? '0\r\n\r\n' : '')
        const problem = requireForm(t, answer, 400, `${request} ${type} ${framing}`)
        t.equal(problem.errors[0].field, 'body')
      }
      if (type === 'application/json') continue
      const full = await ask(request, [...typeField(type), 'Content-Length: 2'], '{}')
      requireForm(t, full, 415, `${request} ${type}`)
    }
  }
  for (const type of [
    'application/json; charset=utf-8; charset=utf-16',
    'application/json;charset=utf-16;charset=utf-8'
  ]) {
    requireForm(
      t,
      firstAnswer(await send('POST /reg', [`Content-Type: ${type}`, 'Content-Length: 2'], '{}')),
      415,
      type
    )
  }
})
