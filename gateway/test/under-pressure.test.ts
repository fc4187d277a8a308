/** Load shedding by the delay of the gateway's own event loop. */

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { buildGateway, credentials, listen, requireForm, workingServices } from './gateway.ts'

const blockMs = 1300

function blockEventLoop(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, blockMs)
}

t.test('answers 503 with Retry-After while each turn of the event loop takes longer than a second', async (t) => {
  const { app, registry, lines } = await buildGateway(t, workingServices())
  const starting = await buildGateway(t)
  const register = () => app.inject({ method: 'POST', url: '/reg', payload: credentials })
  requireForm(t, await register(), 201)
  t.match(await registry.metrics(), /^auth_shed_total\{reason="event_loop"\} 0$/m)

  const blocking = setInterval(blockEventLoop, 0)
  t.teardown(() => clearInterval(blocking))
  await until('the gateway sheds', async () => (await app.inject('/nowhere')).statusCode === 503)
  const shed = await register()
  const problem = requireForm(t, shed, 503)
  t.equal(problem.type, 'urn:problem-type:unavailable')
  t.match(shed.headers['retry-after'], /^\d+$/)
  clearInterval(blocking)
  requireForm(t, await starting.app.inject('/nowhere'), 503)
  const port = await listen(starting.app)
  t.equal((await fetch(`http://127.0.0.1:${port}/nowhere`)).status, 404, 'the delays of the start do not count')

  await until('the gateway accepts requests', async () => (await register()).statusCode === 201)
  t.match(await registry.metrics(), /^auth_shed_total\{reason="event_loop"\} (\d{2,}|[2-9])$/m)
  t.notMatch(lines.join(''), /"event":"request_failed"/, 'shed requests have the access log only')
})

t.test('answers requests after a single delay of more than a second, as at the start of the process', async (t) => {
  const { app } = await buildGateway(t)
  blockEventLoop()
  const endsAt = performance.now() + 6000
  while (performance.now() < endsAt) {
    t.equal((await app.inject('/nowhere')).statusCode, 404)
    await sleep(200)
  }
})

t.test('has no status route', async (t) => {
  const { app } = await buildGateway(t)
  requireForm(t, await app.inject('/status'), 404)
})
