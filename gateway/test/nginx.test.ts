/** The nginx sample of the documentation: the requests of the application and the gateway, and the responses to the client. */

import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { buildGateway, listen, newSession, serveUpstreams } from './gateway.ts'
import { hasNginx, sendFrom, serveNginx } from './nginx.ts'

if (!hasNginx) {
  t.comment('nginx is not installed: the sample was not tested')
  t.end()
} else {
  const { session, token, userId } = newSession()
  const upstreams = await serveUpstreams(t, {
    sessions: {
      validateSession: (request) =>
        request.token === token
          ? { result: { case: 'session', value: session } }
          : { result: { case: 'invalid', value: {} } }
    }
  })
  const limits = { enabled: true, window: 60_000, max: 100, credentialsMax: 100, sessionMax: 40 }
  const options = { trustedProxies: ['127.0.0.1/32'], rateLimit: limits }
  const { app, lines } = await buildGateway(t, { parts: upstreams.parts, options })
  const gatewayPort = await listen(app)
  const { port, requests } = await serveNginx(t, gatewayPort)
  const authorization = `Authorization: Bearer ${token}`
  const path = (method = 'GET') => `${method} /api/hello?a=b HTTP/1.1`
  let clients = 1
  const newClient = () => `127.0.3.${++clients}`
  const send = (fields: string[], body = '', method = 'GET', client = newClient()) =>
    sendFrom(client, port, [path(method), ...fields], body)
  const statusOf = (answer: string) => Number(answer.split(' ')[1])

  /** The header fields of the last request, as frameworks read them that replace `_` and `.` by `-`. */
  function seen(): Record<string, string[]> {
    const { rawHeaders } = requests.at(-1) ?? { rawHeaders: [] }
    const fields: Record<string, string[]> = {}
    for (let index = 0; index < rawHeaders.length; index += 2) {
      const name = String(rawHeaders[index])
        .toLowerCase()
        .replaceAll(/[^a-z0-9]/g, '-')
      fields[name] = [...(fields[name] ?? []), String(rawHeaders[index + 1])]
    }
    return fields
  }
  const identity = { 'x-user-id': [userId], 'x-session-id': [session.id] }

  await fieldCase(t, 20, 'nginx removes the identity headers of a client in every spelling', async (t) => {
    const spellings = [
      (name: string) => name,
      (name: string) => name.toLowerCase(),
      (name: string) => name.toUpperCase(),
      (name: string) => name.replaceAll('-', '_'),
      (name: string) => name.toUpperCase().replaceAll('-', '_'),
      (name: string) => name.replaceAll('-', '.'),
      (name: string) => name.toLowerCase().replaceAll('-', '.'),
      (name: string) => name.replace('-', '_'),
      (name: string) => name.replaceAll('-', '+'),
      (name: string) => `${name} `
    ]
    for (const name of ['X-User-Id', 'X-Session-Id']) {
      for (const spell of spellings) {
        const field = `${spell(name)}: forged`
        const answer = await send([field, authorization, field])
        if (statusOf(answer) === 400) continue
        t.equal(statusOf(answer), 200, field)
        const { 'x-user-id': user, 'x-session-id': id } = seen()
        t.same({ 'x-user-id': user, 'x-session-id': id }, identity, field)
        t.notMatch(requests.at(-1)?.rawHeaders, ['forged'])
      }
    }
    const chunked = ['Transfer-Encoding: chunked', 'Trailer: X-User-Id', authorization, 'Connection: X-User-Id']
    t.equal(statusOf(await send(chunked, '2\r\nab\r\n0\r\nX-User-Id: forged\r\n\r\n', 'POST')), 200)
    t.same(seen()['x-user-id'], [userId], 'in trailers')
    t.same(requests.at(-1)?.rawTrailers, [])
    const before = requests.length
    for (const credential of [
      [],
      ['Authorization: Bearer nonsense'],
      [`Authorization: Bearer ${newSession().token}`]
    ]) {
      const answer = await send([...credential, 'X-User-Id: forged', 'X-Session-Id: forged'])
      t.equal(statusOf(answer), 401)
      t.match(answer, /www-authenticate: bearer/i)
    }
    t.equal(requests.length, before, 'the application gets no request without a session')
    t.equal(
      statusOf(await sendFrom(newClient(), port, ['GET /whose-session HTTP/1.1', authorization])),
      404,
      'internal'
    )
  })

  await fieldCase(
    t,
    20,
    'nginx passes neither the token nor cookies to the application, and accepts 20 kB of cookies',
    async (t) => {
      const cookies = Array.from({ length: 3 }, (_, index) => `Cookie: c${index}=${'x'.repeat(6_700)}`)
      t.equal(statusOf(await send([authorization, ...cookies])), 200)
      const { authorization: seenToken, cookie, ...others } = seen()
      t.same([seenToken, cookie], [undefined, undefined])
      t.notMatch(JSON.stringify(others), token)
      t.match(others, identity)
    }
  )

  await fieldCase(t, 19, 'nginx validates a request of any method and body with GET', async (t) => {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      t.equal(
        statusOf(await send([authorization, 'Content-Type: text/plain', 'Content-Length: 2'], 'ab', method)),
        200,
        method
      )
      t.equal(requests.at(-1)?.method, method)
    }
    const gatewayMethods = lines.map((line) => JSON.parse(line)).filter(({ event }) => event === 'http_request')
    t.ok(gatewayMethods.every(({ method, route }) => method === 'GET' && route === '/session'))
  })

  await fieldCase(
    t,
    20,
    'X-Forwarded-For is the address of the client, also when the client sent the field',
    async (t) => {
      const client = newClient()
      const forged = ['X-Forwarded-For: 203.0.113.9', 'X-Real-IP: 203.0.113.9', 'Forwarded: for=203.0.113.9']
      t.equal(statusOf(await send([authorization, ...forged], '', 'GET', client)), 200)
      t.same(seen()['x-forwarded-for'], [client])
      t.notMatch(JSON.stringify(requests.at(-1)?.rawHeaders), '203.0.113.9')
      // The gateway limits the client by its address, not nginx and not a forged address. nginx answers 500 to a 429.
      const statuses = []
      for (let count = 0; count < 41; count += 1) {
        const fields = [authorization, `X-Forwarded-For: 203.0.113.${count}`]
        statuses.push(statusOf(await send(fields, '', 'GET', client)))
      }
      t.same(statuses.slice(0, 39), Array(39).fill(200))
      t.equal(statuses.at(-1), 500, 'over its limit')
      t.equal(statusOf(await send([authorization])), 200, 'another client has its own limit')
    }
  )

  await fieldCase(t, 20, 'nginx answers 5xx, never 401, while session-svc or the gateway is down', async (t) => {
    await upstreams.server.close()
    for (const fields of [[authorization], [authorization, 'Cookie: a=b']]) {
      const status = statusOf(await send(fields))
      t.ok(status >= 500, `${status}`)
    }
    await app.close()
    const status = statusOf(await send([authorization]))
    t.ok(status >= 500, `without a gateway: ${status}`)
    t.equal(statusOf(await send([])) >= 500, true, 'without a token and a gateway')
  })
}
