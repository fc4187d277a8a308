/**
 * The load balancer of compose.two.yaml, with a real HAProxy: the addresses that it passes on, and its own responses.
 *
 * Gap: Debian's HAProxy is older than that of the image. It skips the lines for 414 and 431 (`.if version_atleast(3.1)`), and sends
 * HTML where the image sends a file (haproxy/haproxy#3032). `PATH=/folder/of/a/newer/haproxy:$PATH make test` tests both.
 */

import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { answerTo, HttpRefusal } from '../gateway/problem.ts'
import { browserHeaders } from '../gateway/response-headers.ts'
import { read, two } from './support/compose-file.ts'
import { balancerIsAtLeast, hasHaproxy, startBalancer } from './support/haproxy.ts'

const skip = hasHaproxy ? false : 'HAProxy is not installed'
/** That of the image. */
const [, balancerVersion = ''] = two.services.balancer?.image.split(':') ?? []
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
  const [removed, kept] = ['127.0.0.1', '203.0.113.9, 127.0.0.1']
  // Docker can show every client as the first address of the network `edge`: here the address of the test.
  const edge = { EDGE_SUBNET: '127.0.0.0/28' }
  for (const [variables, expected] of [
    [{}, removed],
    [{ GATEWAY_TRUSTED_PROXIES: '10.231.77.0/28' }, removed],
    [{ GATEWAY_TRUSTED_PROXIES: '10.0.0.0/8, 127.0.0.0/8' }, kept],
    [{ ...edge, GATEWAY_TRUSTED_PROXIES: '203.0.113.0/24,127.0.0.0/28' }, removed],
    [{ ...edge, GATEWAY_TRUSTED_PROXIES: '127.0.0.0/8,127.0.0.2/32' }, removed],
    [{ ...edge, GATEWAY_TRUSTED_PROXIES: '127.0.0.0/28, 127.0.0.1/32' }, kept]
  ] as const) {
    const port = await startBalancer(t, gatewayPort, variables)
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { 'x-forwarded-for': '203.0.113.9' } })
    t.equal(await response.text(), expected, JSON.stringify(variables))
  }
})

t.test('a request that the balancer cannot read gets a problem', { skip }, async (t) => {
  const port = await startBalancer(t, gatewayPort)
  for (const [path, headers] of [
    ['/', { 'x-long': 'a'.repeat(16_000) }],
    [`/${'a'.repeat(16_000)}`, {}]
  ] as const) {
    const response = await get(port, path, headers)
    t.equal(response.status, balancerIsAtLeast('3.1.0') ? 431 : 400)
    if (!balancerIsAtLeast(balancerVersion)) continue
    t.match(response.headers, { ...ownHeaders, 'content-type': 'application/problem+json; charset=utf-8' })
    t.equal(response.body, read('ops/haproxy-errors/431.http').split('\n\n')[1])
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
