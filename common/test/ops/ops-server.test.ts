/** The ops port over HTTP. */

import { once } from 'node:events'
import { connect } from 'node:net'
import { Gauge, Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { createRegistry } from '#common/ops/metrics.ts'
import { createOpsServer } from '#common/ops/ops-server.ts'
import { ProbeError } from '#common/ops/probe.ts'
import { watchReadiness } from '#common/ops/readiness.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'

async function serve(
  t: Test,
  probes: Record<string, () => Promise<void>>,
  registry = new Registry(),
  unreadMs?: number
) {
  const dependencies = Object.entries(probes).map(([name, probe]) => {
    const required = name === 'optional' ? ('at-start' as const) : ('always' as const)
    return { name, probe, required }
  })
  const readiness = watchReadiness(dependencies, silentLog, registry)
  const server = createOpsServer(registry, readiness, silentLog, unreadMs).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    readiness.stop()
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as { port: number }
  const get = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method })
    return { status: response.status, body: await response.text(), headers: response.headers }
  }
  const open = (localAddress = '127.0.0.1') => {
    const socket = connect({ port, host: '127.0.0.1', localAddress }).on('error', () => {})
    t.teardown(() => socket.destroy())
    return socket
  }
  const connections = () => new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)))
  return { get, readiness, open, connections }
}

t.test('serves /livez, /readyz and the state of each dependency', async (t) => {
  const up = { engine: false, optional: true }
  const probe = (name: keyof typeof up) => async () => {
    if (!up[name]) throw new ProbeError('cannot be reached')
  }
  const { get, readiness } = await serve(t, { engine: probe('engine'), optional: probe('optional') })
  await until('all dependencies are probed', () => readiness.states().some((state) => state.up))
  t.match(await get('/livez'), { status: 200, body: 'ok\n' })
  t.match(await get('/readyz'), { status: 503, body: 'not ready\n' })
  t.match((await get('/readyz?verbose')).body, /^not ready\n\[-\] engine: cannot be reached\n\[\+\] optional: up/)
  t.match((await get('/metrics')).body, /dependency_up\{dependency="engine"\} 0/)
  up.engine = true
  await until('the service is ready', () => readiness.ready())
  t.match(await get('/readyz'), { status: 200, body: 'ready\n' })
  t.match((await get('/metrics')).body, /dependency_up\{dependency="engine"\} 1/)
  up.optional = false
  await until('a dependency is down', () => readiness.states().some((state) => !state.up))
  t.match((await get('/readyz?verbose')).body, /^ready\n.*\n\[-\] optional: .*does what it can without it/)
  readiness.drain()
  t.match(await get('/readyz'), { status: 503, body: 'stopping\n' })
  t.equal((await get('/livez')).status, 200)
})

const browserHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}

t.test('every response has the headers that restrict browsers', async (t) => {
  const { get } = await serve(t, { engine: async () => {} })
  for (const path of ['/livez', '/readyz', '/readyz?verbose', '/metrics', '/other']) {
    t.match(Object.fromEntries((await get(path)).headers), browserHeaders, path)
  }
  t.match(Object.fromEntries((await get('/livez', 'POST')).headers), browserHeaders, '405')
})

t.test('rejects other paths and methods, and forbids caching', async (t) => {
  const registry = createRegistry('test-svc')
  const { get } = await serve(t, {}, registry)
  for (const path of ['/', '/metrics/', '/livez/..%2f', '/debug']) t.equal((await get(path)).status, 404, path)
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const answer = await get('/metrics', method)
    t.equal(answer.status, 405)
    t.equal(answer.headers.get('allow'), 'GET, HEAD')
  }
  const metrics = await get('/metrics')
  t.match(metrics.headers.get('content-type'), /^text\/plain; version=/)
  t.equal(metrics.headers.get('cache-control'), 'no-store')
  t.match(metrics.body, /build_info\{service="test-svc",version="\d+\.\d+\.\d+",node="\d+/)
  t.match(metrics.body, /process_resident_memory_bytes \d/)
})

t.test('answers 500 when a metric fails, without its message, and serves the next request', async (t) => {
  const registry = new Registry()
  let isBroken = true
  new Gauge({
    name: 'x',
    help: 'x',
    registers: [registry],
    collect() {
      if (isBroken) throw new Error('hunter2')
    }
  })
  const { get } = await serve(t, {}, registry)
  const failed = await get('/metrics')
  t.equal(failed.status, 500)
  t.notMatch(failed.body, /hunter2/)
  t.match(Object.fromEntries(failed.headers), browserHeaders)
  isBroken = false
  t.equal((await get('/metrics')).status, 200)
})

t.test('answers 404 to every other path, without an error', async (t) => {
  const { get } = await serve(t, {})
  for (const path of ['//', '//[', '/%', '/%zz', '///x:99999999']) t.equal((await get(path)).status, 404, path)
  t.equal((await get('/livez?x=//')).status, 200)
})

// N9: 100 connections that read nothing took /livez down.
t.test('serves probes while a client opens more connections than the maximum', async (t) => {
  const { get, open, connections } = await serve(t, {})
  for (let count = 0; count < 110; count += 1) {
    const socket = open(`127.0.0.${2 + (count % 50)}`)
    await once(socket, 'connect')
    socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2))
  }
  t.equal((await get('/livez')).status, 200)
  t.equal(await connections(), 100, 'only the oldest connections end')
})

t.test('ends a connection that does not read its response', async (t) => {
  const registry = new Registry()
  // Larger than the buffers of a connection.
  new Gauge({ name: 'x', help: 'x'.repeat(2 ** 24), registers: [registry] })
  const { get, open, connections } = await serve(t, {}, registry, 300)
  const socket = open()
  socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(socket, 'readable')
  await until('the server ends the connection', async () => (await connections()) === 0)
  t.equal((await get('/livez')).status, 200)
})

t.test('serves the pipelined requests of a connection one after the other', async (t) => {
  let collected = 0
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const registry = new Registry()
  new Gauge({
    name: 'x',
    help: 'x',
    registers: [registry],
    async collect() {
      collected += 1
      await released
    }
  })
  const { open, get } = await serve(t, {}, registry)
  const socket = open()
  const request = 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'
  socket.write(request.repeat(3))
  await until('the first request is served', () => collected > 0)
  t.equal((await get('/livez')).status, 200)
  t.equal(collected, 1)
  release()
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  await until('all three are answered', () => text.split('200 OK').length === 4)
  const flood = open()
  const ended = once(flood, 'close')
  flood.write(request.repeat(500))
  await ended
  t.equal((await get('/livez')).status, 200)
})
