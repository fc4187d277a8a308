/** The logs and metrics of requests, and the documentation that the gateway serves. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { allCodes, codeName, errorMeaning } from '#common/errors/codes.ts'
import { routes } from './all-routes.ts'
import { buildGateway, credentials, loginAnswer, newSession, requireForm } from './gateway.ts'

t.test('measures requests by method, route and status, and counts errors by class', async (t) => {
  const { app, registry } = await buildGateway(t, {
    users: {
      registerAndLogin: () => loginAnswer(),
      authenticateAndLogin: () => {
        throw new ConnectError('hunter2', Code.Unavailable)
      }
    }
  })
  const zero = await registry.metrics()
  for (const { method, pattern: url, success } of routes) {
    const series = `http_request_duration_seconds_count{method="${method}",route="${url}",status_code="${success}"} 0`
    t.ok(zero.includes(series), series)
  }
  for (const { name, errorClass } of allCodes.map(errorMeaning)) {
    t.ok(zero.includes(`request_errors_total{error_class="${errorClass}",code="${name}"} 0`), name)
  }
  await app.inject({ method: 'POST', url: '/reg', payload: credentials })
  await app.inject({ method: 'POST', url: '/auth?email=hunter2', payload: credentials })
  await app.inject({ method: 'POST', url: '/auth', payload: {} })
  for (const url of ['/hunter2', '/hunter2/more']) await app.inject(url)
  await app.inject('/session')
  const metrics = await registry.metrics()
  const expected = [
    'http_request_duration_seconds_count{method="POST",route="/reg",status_code="201"} 1',
    'http_request_duration_seconds_count{method="POST",route="/auth",status_code="503"} 1',
    'http_request_duration_seconds_count{method="POST",route="/auth",status_code="400"} 1',
    'http_request_duration_seconds_count{method="GET",route="/session",status_code="401"} 1',
    'http_request_duration_seconds_count{method="GET",route="unmatched",status_code="404"} 2',
    'request_errors_total{error_class="server",code="unavailable"} 1',
    'request_errors_total{error_class="client",code="invalid_argument"} 1',
    'request_errors_total{error_class="client",code="not_found"} 2',
    'request_errors_total{error_class="client",code="unauthenticated"} 1'
  ]
  for (const series of expected) {
    const [name = '', ...labels] = series.split(/[{},]|(?<=")\s/)
    const found = metrics.split('\n').find((line) => {
      return line.startsWith(`${name}{`) && labels.slice(0, -1).every((label) => line.includes(label))
    })
    t.match(found, new RegExp(` ${labels.at(-1)?.trim()}$`), series)
  }
  t.notMatch(metrics, /hunter2|example/)
})

t.test('logs one line for each request, without any text of the client', async (t) => {
  const { token, headers } = newSession()
  const { app, lines } = await buildGateway(t, { users: { registerAndLogin: () => loginAnswer() } })
  const injected = 'x\r\n{"level":"fatal","msg":"hunter2"}\u2028\u001b[31mhunter2'
  await app.inject({
    method: 'POST',
    url: `/reg?hunter2=${encodeURIComponent(injected)}`,
    headers: { ...headers, 'user-agent': 'hunter2', 'x-request-id': 'hunter2', traceparent: 'hunter2' },
    payload: { email: 'hunter2@example.org', password: `hunter2${injected}` }
  })
  await app.inject({ url: '/hunter2', headers })
  t.equal(lines.length, 2)
  for (const line of lines) t.equal(line.indexOf('\n'), line.length - 1)
  t.match(JSON.parse(lines[0] ?? ''), {
    event: 'http_request',
    method: 'POST',
    route: '/reg',
    statusCode: 201,
    traceId: /^[0-9a-f]{32}$/
  })
  t.match(JSON.parse(lines[1] ?? ''), { route: 'unmatched', statusCode: 404 })
  t.notMatch(lines.join(''), 'hunter2')
  t.notMatch(lines.join(''), token.slice(4))
})

t.test('logs a second line, with the error and the trace, for server errors only', async (t) => {
  for (const code of allCodes) {
    const { app, lines } = await buildGateway(t, {
      users: {
        registerAndLogin: () => {
          throw new ConnectError('A sentence.', code)
        }
      }
    })
    const answer = await app.inject({ method: 'POST', url: '/reg', payload: credentials })
    t.equal(answer.statusCode, errorMeaning(code).status, codeName(code))
    const errors = lines.filter((line) => line.includes('"level":"error"')).map((line) => JSON.parse(line))
    t.equal(errors.length, errorMeaning(code).errorClass === 'server' ? 1 : 0, codeName(code))
    if (errors.length > 0) {
      const { traceId } = JSON.parse(answer.body)
      t.match(errors[0], {
        event: 'request_failed',
        route: '/reg',
        code: codeName(code),
        traceId,
        err: { code: codeName(code) }
      })
    }
  }
})

t.test('serves the documentation, unless gateway.docs is off', async (t) => {
  const { app } = await buildGateway(t)
  const page = await app.inject({ url: '/docs/' })
  t.equal(page.statusCode, 200)
  t.match(page.headers['content-type'], /^text\/html/)
  t.ok([200, 301, 302].includes((await app.inject('/docs')).statusCode))
  for (const url of ['/docs/', '/docs/json', '/docs/static/swagger-ui.css', '/openapi.json']) {
    const { headers } = await app.inject(url)
    t.equal(headers['cache-control'], 'no-store', `${url}: Cache-Control`)
    t.match(headers['x-request-id'], /^[0-9a-f]{32}$/)
  }
  const bundle = await app.inject('/docs/static/swagger-ui-bundle.js')
  t.equal(bundle.statusCode, 200)
  t.match(bundle.headers['content-type'], /javascript/)
  t.ok(bundle.body.length > 1_000_000)
  const { app: bare } = await buildGateway(t, { options: { docs: false } })
  for (const url of ['/docs', '/docs/', '/openapi.json']) requireForm(t, await bare.inject(url), 404)
})

t.test('answers 404 to `/`, with a link to Swagger UI unless gateway.docs is off', async (t) => {
  for (const docs of [true, false]) {
    const { app } = await buildGateway(t, { options: { docs } })
    const response = await app.inject('/')
    requireForm(t, response, 404)
    t.equal(response.headers.link, docs ? '</docs>; rel="service-doc"' : undefined)
    t.equal((await app.inject('/none')).headers.link, undefined)
  }
})
