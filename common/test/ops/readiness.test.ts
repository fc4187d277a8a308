/** Readiness on a clock that the tests advance. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { Code } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { ProbeError } from '#common/ops/probe.ts'
import { type Dependency, watchReadiness } from '#common/ops/readiness.ts'
import { createTestClock } from '#common/testing/test-clock.ts'

type Probes = Record<string, () => Promise<unknown>>

async function watch(t: Test, probes: Probes, required: Record<string, Dependency['required']> = {}) {
  const clock = createTestClock()
  const lines: string[] = []
  const log = createLogger('test', 'info', { write: (line: string) => void lines.push(line) })
  const dependencies = Object.entries(probes).map(([name, probe]) => {
    return { name, probe: probe as Dependency['probe'], required: required[name] ?? 'always' }
  })
  const readiness = watchReadiness(dependencies, log, new Registry(), clock)
  t.teardown(readiness.stop)
  await nextTurn()
  await nextTurn()
  const reasonOf = (name: string) => readiness.states().find((state) => state.name === name)?.reason
  return { readiness, clock, lines, reasonOf }
}

/** A dependency whose probes fail until it is set up. */
function toggled() {
  const dependency = {
    up: false,
    probes: 0,
    async probe() {
      dependency.probes += 1
      if (!dependency.up) throw new ProbeError('unusable')
    }
  }
  return dependency
}

const hangs = () => new Promise<never>(() => {})

t.test('requires some dependencies always, some once, and some never', async (t) => {
  const [always, once, never] = [toggled(), toggled(), toggled()]
  const probes = { always: always.probe, once: once.probe, never: never.probe }
  const { readiness, clock } = await watch(t, probes, { once: 'at-start', never: 'never' })
  always.up = true
  await clock.advance(200)
  t.notOk(readiness.ready(), 'the dependency that is required at the start has not been up')
  once.up = true
  await clock.advance(200)
  t.ok(readiness.ready())
  once.up = false
  await clock.advance(1000)
  t.ok(readiness.ready(), 'it has been up once')
  always.up = false
  await clock.advance(1000)
  t.notOk(readiness.ready())
})

t.test('probes once a second while a dependency is up, and five times a second while it is down', async (t) => {
  const dependency = toggled()
  const { clock } = await watch(t, { dependency: dependency.probe })
  await clock.advance(1000)
  t.equal(dependency.probes, 6)
  dependency.up = true
  await clock.advance(200)
  dependency.probes = 0
  await clock.advance(5000)
  t.equal(dependency.probes, 5)
})

t.test('logs each change of a dependency once', async (t) => {
  const dependency = toggled()
  const { clock, lines } = await watch(t, { dependency: dependency.probe })
  await clock.advance(1000)
  dependency.up = true
  await clock.advance(3000)
  dependency.up = false
  await clock.advance(3000)
  t.same(
    lines.map((line) => JSON.parse(line).event),
    ['dependency_down', 'dependency_up', 'dependency_down']
  )
})

t.test('fails calls fast after a probe has timed out, until the dependency responds', async (t) => {
  let respond: () => void = () => {}
  const { readiness, clock, reasonOf } = await watch(t, {
    dependency: () => new Promise<void>((resolve) => (respond = resolve))
  })
  await clock.advance(1999)
  t.doesNotThrow(() => readiness.requireUp('dependency'), 'its first probe is still in flight')
  await clock.advance(1)
  t.equal(reasonOf('dependency'), 'gives no answer within 2 s')
  t.throws(() => readiness.requireUp('dependency'), { code: Code.Unavailable })
  await clock.advance(200)
  respond()
  await nextTurn()
  t.ok(readiness.ready())
  t.doesNotThrow(() => readiness.requireUp('dependency'))
})

t.test('does not fail calls fast while a dependency responds without being usable', async (t) => {
  const { readiness } = await watch(t, { dependency: () => Promise.reject(new ProbeError('out of memory')) })
  t.notOk(readiness.ready())
  t.doesNotThrow(() => readiness.requireUp('dependency'))
})

t.test('probes the other dependencies while a probe hangs', async (t) => {
  const dependency = toggled()
  const { clock, readiness } = await watch(t, { hanging: hangs, dependency: dependency.probe })
  dependency.up = true
  await clock.advance(200)
  t.match(readiness.states(), [
    { name: 'hanging', up: false },
    { name: 'dependency', up: true }
  ])
})

t.test('discards the result of a probe that is older than the latest', async (t) => {
  const responses: ((error?: Error) => void)[] = []
  const probe = () =>
    new Promise<void>((resolve, reject) => responses.push((error) => (error ? reject(error) : resolve())))
  const { readiness } = await watch(t, { dependency: probe })
  readiness.probeNow()
  await nextTurn()
  responses[1]?.()
  await nextTurn()
  t.ok(readiness.ready())
  responses[0]?.(new ProbeError('unusable'))
  await nextTurn()
  t.ok(readiness.ready())
})

t.test('reports no text of an unknown error, which may contain a secret', async (t) => {
  const fails = () => Promise.reject(new Error('connect postgres://hunter2@host failed'))
  const { lines, reasonOf } = await watch(t, { dependency: fails })
  t.equal(reasonOf('dependency'), 'does not work (Error)')
  t.notMatch(lines.join(''), /hunter2/)
})

t.test('is not ready for good once the service drains', async (t) => {
  const { readiness, clock } = await watch(t, { dependency: async () => {} })
  t.ok(readiness.ready())
  readiness.drain()
  readiness.probeNow()
  await clock.advance(5000)
  t.notOk(readiness.ready())
  t.ok(readiness.draining())
  t.notOk(readiness.blocked())
})

t.test('a probe that ends after the stop, when its connection is closed, changes nothing', async (t) => {
  const probes: ((error?: Error) => void)[] = []
  const probe = () =>
    new Promise<void>((resolve, reject) => probes.push((error) => (error ? reject(error) : resolve())))
  const { readiness, clock, lines, reasonOf } = await watch(t, { dependency: probe })
  probes[0]?.()
  await clock.advance(1000)
  readiness.stop()
  t.equal(probes.length, 2, 'a probe is in flight')
  probes[1]?.(new Error('closed'))
  await nextTurn()
  t.equal(reasonOf('dependency'), undefined)
  t.equal(lines.length, 1)
})
