/** Injects the faults of the testbed into its targets, and ends them. */

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { listens } from '#common/testing/ports.ts'
import { until } from '#common/testing/until.ts'
import { type ServiceName, startWithinMs } from '../support/product.ts'
import { type Fault, isEngine, type Target } from './targets.ts'
import type { Parts } from './testbed-parts.ts'

const proxyFaults = { slow: 'slow', resetting: 'reset', unresponsive: 'unresponsive' } as const
const answering: ServiceName[] = ['session-svc', 'user-svc', 'gateway']
// A gateway is ready once it has seen user-svc ready.
const readyWithout: Record<Target, ServiceName[]> = {
  postgres: ['session-svc'],
  redis: [],
  kafka: answering,
  'user-svc': ['session-svc'],
  'session-svc': [],
  mail: answering
}

/** @param killed gets the instances (a field of their log lines) of killed processes */
export function faultInjection({ product, database, engines, proxy, topics }: Parts, killed: Set<string>) {
  const livez = (name: ServiceName) =>
    product.ops(name, '/livez').then(
      ({ ok }) => ok,
      () => false
    )

  /** Whether user-svc has checked the migrations. Before that it is starting, and every call that needs PostgreSQL is 503. */
  async function hasMigrated(): Promise<boolean> {
    const response = await product.ops('user-svc', '/readyz?verbose')
    return (await response.text()).includes('[+] postgres: up')
  }

  async function startService(name: ServiceName): Promise<void> {
    product.start(name)
    await until(`${name} is alive`, () => livez(name), startWithinMs)
    const port = { 'user-svc': product.ports.users, 'session-svc': product.ports.sessions }[name as string]
    if (port !== undefined) await until(`${name} listens`, () => listens(port))
  }

  async function kill(target: Target): Promise<void> {
    if (isEngine(target)) await engines[target as 'redis'].kill()
    else {
      const instance = /.*"instance":"([^"]+)"/s.exec(product.output(target as ServiceName))?.[1]
      if (instance !== undefined) killed.add(instance)
      await product.stop(target as ServiceName, 'SIGKILL')
    }
    await proxy(target).become('refuse')
  }

  /** Resolves when the target answers. Its proxy passes connections only then; a broker answers through its proxy only. */
  async function start(target: Target): Promise<void> {
    if (target === 'kafka') await proxy('kafka').become('pass')
    if (isEngine(target)) await engines[target as 'redis'].start()
    else await startService(target as ServiceName)
    await proxy(target).become('pass')
  }

  function freeze(target: Target, frozen: boolean): void {
    if (!isEngine(target)) product.process(target as ServiceName)?.kill(frozen ? 'SIGSTOP' : 'SIGCONT')
    else if (frozen) engines[target as 'redis'].freeze()
    else engines[target as 'redis'].thaw()
  }

  /** Restarts all services while the target is down. */
  async function startWithout(target: Target): Promise<void> {
    const codes = await Promise.all(answering.map((name) => product.stop(name)))
    if (codes.some((code) => code !== 0)) throw new Error(`exit codes of the services: ${codes}`)
    if (isEngine(target)) await kill(target)
    else await proxy(target).become('refuse')
    await Promise.all(answering.filter((name) => name !== target).map(startService))
    for (const name of readyWithout[target]) await until(`${name} is ready`, () => product.isReady(name), startWithinMs)
    // Without session-svc or Redis, user-svc is never ready, so its readiness cannot show that it has started.
    if (target === 'session-svc' || target === 'redis') await until('user-svc has started', hasMigrated, startWithinMs)
  }

  async function startEmpty(target: Target): Promise<void> {
    await kill(target)
    if (isEngine(target)) engines[target as 'redis'].empty()
    await start(target)
    if (target !== 'kafka') return
    // log-sink and user-svc log this remedy when the topics were deleted.
    rmSync(join(product.env.LOG_SINK_DIRECTORY as string, `topic-${topics.logs}.json`), { force: true })
    await database`delete from topics`
  }

  return {
    /** Resolves when the fault is active; for `back and empty` and `backends killed`, when the target answers again. */
    async inject(target: Target, fault: Fault): Promise<void> {
      if (fault === 'absent at start') await startWithout(target)
      else if (fault === 'killed') await kill(target)
      else if (fault === 'frozen') freeze(target, true)
      else if (fault === 'back and empty') await startEmpty(target)
      else if (fault === 'backends killed') {
        await database`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'user-svc'`
      } else await proxy(target).become(proxyFaults[fault])
    },

    /** Resolves when the target answers again. */
    async heal(target: Target, fault: Fault): Promise<void> {
      if (fault === 'absent at start' || fault === 'killed') await start(target)
      else if (fault === 'frozen') freeze(target, false)
      else if (fault in proxyFaults) await proxy(target).become('pass')
    }
  }
}
