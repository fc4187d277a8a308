/** The load balancer of compose.two.yaml, with a real HAProxy: the addresses that it passes on. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { hasHaproxy, startBalancer } from './support/haproxy.ts'

const skip = hasHaproxy ? false : 'HAProxy is not installed'

/** A gateway that answers with the addresses that it got. */
const gateway = createServer(({ headers }, response) => response.end(headers['x-forwarded-for']))
gateway.listen(0, '127.0.0.1')
await once(gateway, 'listening')
t.teardown(() => {
  gateway.closeAllConnections()
  gateway.close()
})
const { port: gatewayPort } = gateway.address() as AddressInfo

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
