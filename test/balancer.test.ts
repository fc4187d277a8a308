/** The load balancer of compose.two.yaml, with a real HAProxy: the addresses that it passes on, and its own responses. */

import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { answerTo, HttpRefusal } from '../gateway/problem.ts'
import { browserHeaders } from '../gateway/response-headers.ts'
import { read } from './support/compose-file.ts'
import { hasHaproxy, startBalancer } from './support/haproxy.ts'

const skip = hasHaproxy ? false : 'HAProxy is not installed'
const traceId = '0123456789abcdef0123456789abcdef'
const ownHeaders = { 'cache-control': 'no-store', ...browserHeaders }

/** A gateway that answers with the addresses that it got; a request to /closed ends its connection. */
const gateway = createServer(({ headers, url, socket }, response) => {
  if (url === '/closed') return socket.destroy()
  if (url === '/docs') response.setHeader('x-request-id', traceId)
  return response.end(headers['x-forwarded-for'])
})
gateway.listen(0, '127.0.0.1')
await once(gateway, 'listening')
t.teardown(stopGateway)
const { port: gatewayPort } = gateway.address() as AddressInfo

/** On a connection of its own: on a reused one, HAProxy answers nothing if the gateway ends, and the client retries. */
async function get(port: number, path: string, headers = {}) {
  const [response] = await once(request({ port, path, headers, agent: false }).end(), 'response')
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

function stopGateway() {
  gateway.closeAllConnections()
  gateway.close()
}

t.test('X-Forwarded-For of a client that is no trusted proxy is removed', { skip }, async (t) => {
  for (const [trusted, expected] of [
    ['', '127.0.0.1'],
    ['10.231.77.0/28', '127.0.0.1'],
    ['10.0.0.0/8, 127.0.0.1/32', '203.0.113.9, 127.0.0.1']
  ] as const) {
    const port = await startBalancer(t, gatewayPort, trusted)
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { 'x-forwarded-for': '203.0.113.9' } })
    t.equal(await response.text(), expected, `trusted: ${trusted}`)
  }
})

t.test('responses of the balancer are problems of the gateway with all its headers', { skip }, async (t) => {
  const port = await startBalancer(t, gatewayPort)
  t.equal(
    (await get(port, '/docs')).headers['content-security-policy'],
    undefined,
    'headers of the gateway stay as they are'
  )

  const traceparent = `00-${traceId}-0123456789abcdef-01`
  const closed = await get(port, '/closed', { traceparent })
  stopGateway()
  const down = await get(port, '/')
  for (const [response, code] of [
    [closed, Code.DeadlineExceeded],
    [down, Code.Unavailable]
  ] as const) {
    const { problem, headers } = answerTo(new ConnectError('', code))
    t.equal(response.status, problem.status)
    const { traceId: ofBody, ...body } = JSON.parse(response.body)
    t.same(body, problem)
    t.match(ofBody, /^[0-9a-f]{32}$/)
    t.match(response.headers, {
      ...{ ...ownHeaders, ...headers, 'content-type': 'application/problem+json; charset=utf-8' },
      ...{ 'x-request-id': ofBody, traceparent: new RegExp(`^00-${ofBody}-[0-9a-f]{16}-00$`) }
    })
  }
  t.equal(closed.headers['x-request-id'], traceId, 'the trace of the request')
})

t.test(
  'the files for requests that the balancer cannot read are problems of the gateway with its headers',
  async (t) => {
    const refusals = {
      400: new ConnectError('The request is not well-formed HTTP.', Code.InvalidArgument),
      408: new HttpRefusal(408),
      431: new HttpRefusal(431)
    }
    for (const [status, error] of Object.entries(refusals)) {
      const [head = '', body = ''] = read(`ops/haproxy-errors/${status}.http`).split('\n\n')
      const [first, ...lines] = head.split('\n')
      t.match(first, new RegExp(`^HTTP/1.1 ${status} `))
      const headers = Object.fromEntries(
        lines.map((line) => line.split(': ')).map(([name = '', text]) => [name.toLowerCase(), text])
      )
      const expected = { ...ownHeaders, 'content-type': 'application/problem+json; charset=utf-8', connection: 'close' }
      t.same(headers, expected)
      // HAProxy accepts less than the gateway.
      t.same(JSON.parse(body.replace('15 KiB', '16 KiB')), answerTo(error).problem)
    }
    const settings = read('ops/haproxy.cfg')
    for (const status of [400, 408, 413, 414, 422, 431, 501])
      t.match(settings, new RegExp(`errorfile ${status} /usr/local/etc/haproxy/errors/(400|408|431)\\.http`))
  }
)
