/** The ops port over HTTP. */

import { once } from 'node:events'
import { Gauge, Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { createRegistry } from '#common/ops/metrics.ts'
import { createOpsServer } from '#common/ops/ops-server.ts'
import { ProbeError } from '#common/ops/probe.ts'
import { watchReadiness } from '#common/ops/readiness.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'

async function serve(t: Test, probes: Record<string, () => Promise<void>>, registry = new Registry()) {
  const dependencies = Object.entries(probes).map(([name, probe]) => {
    const required = name === 'optional' ? ('at-start' as const) : ('always' as const)
    return { name, probe, required }
  })
  const readiness = watchReadiness(dependencies, silentLog, registry)
  const server = createOpsServer(registry, readiness, silentLog).listen(0, '127.0.0.1')
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
  return { get, readiness }
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
  isBroken = false
  t.equal((await get('/metrics')).status, 200)
})

t.test('serves requests after malformed URLs', async (t) => {
  const { get } = await serve(t, {})
  for (const path of ['//', '//[', '/%', '/%zz', '///x:99999999']) {
    t.ok([400, 404, 500].includes((await get(path)).status), path)
  }
  t.equal((await get('/livez')).status, 200)
})
