/** The ops port over HTTP, and the readiness that it tells. */

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Code } from '@connectrpc/connect'
import { Gauge, Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { createRegistry } from '#common/ops/metrics.ts'
import { createOpsServer } from '#common/ops/ops-server.ts'
import { ProbeError, watchReadiness } from '#common/ops/readiness.ts'
import { until } from '#common/testing/until.ts'

const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))

async function serve(t: Test, probes: Record<string, () => Promise<void>>, registry = new Registry()) {
  const lines: string[] = []
  const log = createLogger('test', 'info', { write: (line: string) => void lines.push(line) })
  const dependencies = Object.entries(probes).map(([name, probe]) => {
    const required = name === 'optional' ? ('at-start' as const) : ('always' as const)
    return { name, probe, required }
  })
  const readiness = watchReadiness(dependencies, log, registry)
  const server = createOpsServer(registry, readiness, log).listen(0, '127.0.0.1')
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
  return { get, readiness, lines }
}

t.test('alive whatever happens, ready when all that it needs is there', async (t) => {
  const up = { engine: false, optional: false }
  const probe = (name: keyof typeof up) => async () => {
    if (!up[name]) throw new ProbeError('cannot be reached')
  }
  const registry = new Registry()
  const { get, readiness, lines } = await serve(t, { engine: probe('engine'), optional: probe('optional') }, registry)
  t.match(await get('/readyz'), { status: 503, body: 'not ready\n' })
  t.match(await get('/livez'), { status: 200, body: 'ok\n' })
  await sleep(100)
  t.match((await get('/readyz?verbose')).body, /^not ready\n\[-\] engine: cannot be reached\n\[-\] optional: cannot/)
  up.engine = true
  await sleep(500)
  t.equal((await get('/readyz')).status, 503, 'what is needed at the start has not been seen')
  up.optional = true
  await until('the service is ready', () => readiness.ready())
  t.match(await get('/readyz'), { status: 200, body: 'ready\n' })
  t.match((await get('/metrics')).body, /dependency_up\{dependency="engine"\} 1/)
  up.optional = false
  await until('a dependency is down', () => readiness.states().some((state) => !state.up))
  t.match((await get('/readyz?verbose')).body, /^ready\n.*\n\[-\] optional: .*does what it can without it/)
  up.engine = false
  await until('the service is not ready', () => !readiness.ready())
  t.equal((await get('/readyz')).status, 503)
  t.doesNotThrow(() => readiness.requireUp('engine'), 'it answers, though it may not be relied upon')
  t.match((await get('/metrics')).body, /dependency_up\{dependency="engine"\} 0/)
  const told = lines.filter((line) => line.includes('"dependency":"engine"')).map((line) => JSON.parse(line).event)
  t.same(told, ['dependency_down', 'dependency_up', 'dependency_down'], 'each change once')
})

t.test('what needs a dependency is refused only when that is known to be away', async (t) => {
  let answer: () => void = () => {}
  const { readiness } = await serve(t, { engine: () => new Promise((resolve) => (answer = resolve)) })
  await sleep(50)
  readiness.requireUp('engine')
  await until('a probe has timed out', () =>
    readiness.states().some(({ reason }) => reason?.startsWith('gives no answer') === true)
  )
  t.throws(() => readiness.requireUp('engine'), { code: Code.Unavailable })
  await sleep(300)
  answer()
  await until('the service is ready', () => readiness.ready())
  readiness.requireUp('engine')
})

t.test('a probe that hangs keeps nobody from looking at the others', async (t) => {
  let isThere = false
  const probes = {
    hanging: () => new Promise<void>(() => {}),
    engine: async () => {
      if (!isThere) throw new ProbeError('cannot be reached')
    }
  }
  const { readiness } = await serve(t, probes)
  const isUp = () => readiness.states().some(({ name, up }) => name === 'engine' && up)
  await sleep(300)
  isThere = true
  const startedAt = performance.now()
  await until('the dependency is up', isUp)
  t.ok(performance.now() - startedAt < 1200)
})

t.test('a probe that hangs is down after its time; one that fails never shows what a user sent', async (t) => {
  const failing = async () => {
    throw new Error('connect postgres://hunter2@host failed')
  }
  const { get, lines } = await serve(t, { hanging: () => new Promise(() => {}), failing })
  await sleep(2400)
  const { body } = await get('/readyz?verbose')
  t.match(body, /\[-\] hanging: \S/)
  t.match(body, /\[-\] failing: \S/)
  t.notMatch(body + lines.join(''), /hunter2/)
})

t.test('a service that stops is unready for good, and alive', async (t) => {
  const { get, readiness } = await serve(t, { engine: async () => {} })
  await until('the service is ready', () => readiness.ready())
  readiness.drain()
  t.match(await get('/readyz'), { status: 503, body: 'stopping\n' })
  readiness.probeNow()
  await sleep(100)
  t.equal((await get('/readyz')).status, 503)
  t.equal((await get('/livez')).status, 200)
})

t.test('nothing else is served, and nothing is cached', async (t) => {
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

t.test('a request that cannot be answered is 500, and the next one is served', async (t) => {
  const registry = new Registry()
  let broken = true
  new Gauge({
    name: 'x',
    help: 'x',
    registers: [registry],
    collect() {
      if (broken) throw new Error('hunter2')
    }
  })
  const { get } = await serve(t, {}, registry)
  const failed = await get('/metrics')
  t.equal(failed.status, 500)
  t.notMatch(failed.body, /hunter2/)
  broken = false
  t.equal((await get('/metrics')).status, 200)
})

t.test('a URL that is none harms nobody', async (t) => {
  const { get } = await serve(t, {})
  for (const path of ['//', '//[', '/%', '/%zz', '///x:99999999']) {
    t.ok([400, 404, 500].includes((await get(path)).status), path)
  }
  t.equal((await get('/livez')).status, 200)
})
