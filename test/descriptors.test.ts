/** Clients use every connection that a gateway accepts: its ops port still answers, and the gateway recovers. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { createProduct } from './support/product.ts'

t.setTimeout(600_000)

const descriptors = 300
const product = await createProduct(t, { GATEWAY_CONNECTIONS_MAX_PER_NETWORK: '10000', GATEWAY_DOCS: 'true' })
const { env, ports } = product
product.start('session-svc', 'user-svc')
const gateway = spawn('sh', ['-c', `ulimit -n ${descriptors}; exec "$0" gateway/server.ts`, process.execPath], {
  env,
  stdio: ['ignore', 'pipe', 'inherit']
})
let output = ''
gateway.stdout.on('data', (chunk) => {
  output += chunk
})
t.teardown(async () => {
  if (gateway.exitCode !== null || gateway.signalCode !== null) return
  gateway.kill('SIGKILL')
  await once(gateway, 'exit')
})
await until('the gateway is ready', () => product.isReady('gateway'))

const sockets: Socket[] = []
t.teardown(() => {
  for (const socket of sockets) socket.destroy()
})
const request = 'GET /docs/static/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n'

t.test('the ops port answers while clients hold all connections without reading', async (t) => {
  for (let count = 0; count < 2 * descriptors; count += 1) {
    const socket = connect(ports.rest, '127.0.0.1')
    socket.on('error', () => {})
    sockets.push(socket)
    await Promise.race([once(socket, 'connect'), once(socket, 'close')])
    socket.write(request.repeat(20))
  }
  for (let round = 0; round < 10; round += 1) {
    for (const path of ['/livez', '/readyz', '/metrics']) {
      t.equal((await product.ops('gateway', path)).status, 200, path)
    }
  }
  const open = readdirSync(`/proc/${gateway.pid}/fd`).length
  t.ok(open < descriptors - 100, `${open} descriptors`)
  t.match(
    await (await product.ops('gateway', '/metrics')).text(),
    /http_connections_ended_total\{reason="total"\} [1-9]/
  )
  t.match(output, /"event":"http_connection_ended".*"reason":"total"/)
  t.match(
    await (await product.ops('gateway', '/metrics')).text(),
    /log_dropped_total\{reason="disk"\} 0/,
    'no line of the log is lost'
  )
})

t.test('requests are answered after the clients have disconnected', async (t) => {
  for (const socket of sockets.splice(0)) socket.destroy()
  const answers = () =>
    product.call('GET', '/session').then(
      ({ status }) => status === 401,
      () => false
    )
  await until('the gateway answers', answers)
  const ended = once(gateway, 'exit')
  gateway.kill('SIGTERM')
  t.same(await ended, [0, null])
})
