/** The nginx sample of the documentation: the requests of the application and the gateway, and the responses to the client. */

import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { buildGateway, limitsOf, listen, newSession, serveUpstreams, workingServices } from './gateway.ts'
import { hasNginx, sendFrom, serveNginx } from './nginx.ts'

if (!hasNginx) {
  t.comment('nginx is not installed: the sample was not tested')
  t.end()
} else {
  const user = newSession()
  const { session, token, userId } = user
  const sessionCookie = `__Host-session=${token}`
  const upstreams = await serveUpstreams(t, {
    users: workingServices(user).users,
    sessions: {
      validateSession: (request) =>
        request.token === token
          ? { result: { case: 'session', value: session } }
          : { result: { case: 'invalid', value: {} } }
    }
  })
  const limits = limitsOf({ max: 100, credentialsMax: 100, sessionMax: 40 })
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
    'nginx passes the token to the gateway only and other cookies to the application only, and accepts 20 kB of cookies',
    async (t) => {
      const cookies = Array.from({ length: 3 }, (_, index) => `Cookie: c${index}=${'x'.repeat(6_700)}`)
      t.equal(statusOf(await send([authorization, ...cookies, `Cookie: ${sessionCookie}`])), 200)
      const { authorization: seenToken, cookie = [], ...others } = seen()
      t.equal(seenToken, undefined)
      t.equal(cookie.join('; ').replaceAll(/x+/g, 'x'), 'c0=x; c1=x; c2=x')
      t.notMatch(JSON.stringify(others), token)
      t.match(others, identity)
    }
  )

  t.test('the cookie of a browser protects page navigations, in any place among others', async (t) => {
    const rows: [cookies: string[], forwarded: string | undefined][] = [
      [[sessionCookie], undefined],
      [[`a=b; ${sessionCookie}`], 'a=b'],
      [[`${sessionCookie}; a=b`], 'a=b'],
      [[`${sessionCookie};a=b`], 'a=b'],
      [[`a=b; ${sessionCookie}; c=d; e=f`], 'a=b; c=d; e=f'],
      [['a=b', sessionCookie, 'c=d'], 'a=b; c=d'],
      [[`x__Host-session=y; ${sessionCookie}`], 'x__Host-session=y'],
      [[`__Host-device=d; a=b; ${sessionCookie}`], 'a=b'],
      [[`a=b; ${sessionCookie}; __Host-device=d; c=d`], 'a=b; c=d'],
      [[`${sessionCookie}; __Host-device=d`], undefined],
      [[`a=__Host-session=y; ${sessionCookie}; b=__Host-session=z`], 'a=__Host-session=y; b=__Host-session=z']
    ]
    for (const [cookies, forwarded] of rows) {
      const fields = cookies.map((value) => `Cookie: ${value}`)
      for (const more of [[], ['X-User-Id: forged', 'X_Session_Id: forged'], ['Authorization: Basic YTpi']]) {
        t.equal(statusOf(await send([...fields, ...more])), 200, cookies.join(' | '))
        const { cookie, authorization, ...others } = seen()
        t.same(cookie, forwarded && [forwarded], cookies.join(' | '))
        t.equal(authorization, undefined)
        t.match(others, identity)
        t.notMatch(JSON.stringify(requests.at(-1)?.rawHeaders), token)
      }
    }
  })

  t.test(
    'two session cookies, another name and an ended session are 401, and never reach the application',
    async (t) => {
      const before = requests.length
      const ended = `__Host-session=${newSession().token}`
      for (const cookies of [
        [`${sessionCookie}; ${ended}`],
        [`${ended}; ${sessionCookie}`],
        [`a=b; ${sessionCookie}; c=d; __Host-session=; e=f`],
        [sessionCookie, ended],
        [ended],
        ['__Host-session='],
        [`__host-session=${token}`],
        [`session=${token}`],
        [`x${sessionCookie}`]
      ]) {
        const answer = await send(cookies.map((value) => `Cookie: ${value}`))
        t.equal(statusOf(answer), 401, cookies.join(' | '))
        t.match(answer, /www-authenticate: bearer/i)
      }
      t.equal(requests.length, before)
      t.equal(
        statusOf(await send([authorization, `Cookie: a=b; ${sessionCookie}; ${ended}`])),
        200,
        'a bearer token wins'
      )
      t.equal(seen().cookie, undefined, 'no session cookie remains')
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

  t.test('a browser logs in under the host of the application, then opens a page, and logs out', async (t) => {
    const own = ['Origin: https://app.example.org', 'Sec-Fetch-Site: same-origin']
    const body = JSON.stringify({ email: 'ada@example.org', password: 'secret', cookie: true })
    const json = ['Content-Type: application/json', `Content-Length: ${body.length}`]
    const id = (line: string, fields: string[], body = '') => sendFrom(newClient(), port, [line, ...fields], body)
    const login = await id('POST /id/auth HTTP/1.1', [...own, ...json], body)
    t.equal(statusOf(login), 200)
    const [, cookie] = /^set-cookie: (__Host-session=[^;]+); Path=\/;/im.exec(login) ?? []
    t.equal(cookie, sessionCookie)
    t.equal(statusOf(await send([`Cookie: ${cookie}`])), 200)
    const older = ['Origin: https://app.example.org', `Cookie: ${cookie}`]
    t.equal(statusOf(await id('DELETE /id/logout HTTP/1.1', older)), 204, 'nginx passes the host on')
    const forged = ['Origin: https://evil.example', 'Sec-Fetch-Site: cross-site', `Cookie: ${cookie}`]
    t.equal(statusOf(await id('DELETE /id/logout HTTP/1.1', forged)), 403)
    t.equal(statusOf(await id('POST /id/auth HTTP/1.1', [...forged.slice(0, 2), ...json], body)), 403)
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
