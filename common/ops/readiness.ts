/** The readiness of a service: its dependencies are probed regularly; `/readyz` and the health RPC report the result. */

import { Gauge, type Registry } from '@prometheus-io/client'
import { dependencyDown } from '#common/errors/connect-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { withinMs } from '#common/time/timeout.ts'
import { type Probe, ProbeError, probeTimeoutMs, reasonOf } from './probe.ts'

/** A dependency that a service probes. */
export interface Dependency {
  name: string
  probe: Probe
  /** When the service is not ready without it: `always`; `at-start`, until it was up once; or `never`. */
  required: 'always' | 'at-start' | 'never'
}

/** The result of the last probe of a dependency. */
interface DependencyState {
  name: string
  up: boolean
  /** Why it is down. */
  reason: string | undefined
  /** For operators, about a dependency that is up. */
  warning?: string | undefined
  /** Whether its state keeps the service from being ready. */
  blocks: boolean
}

/** The readiness of a service. */
export interface Readiness {
  /** Whether no dependency blocks the service, and it is not stopping. */
  ready(): boolean
  /** Whether a dependency blocks the service. */
  blocked(): boolean
  draining(): boolean
  states(): DependencyState[]
  /** @throws ConnectError `unavailable` while a dependency is down: a call that needs it would wait in vain */
  requireUp(name: string): void
  /** Makes the service unready for good: it is stopping. */
  drain(): void
  /** Probes all dependencies immediately. */
  probeNow(): void
  /** Starts no further probe; the result of one in flight changes nothing. */
  stop(): void
}

const intervalMs = 1000
// A service that waits for a dependency becomes ready soon after the dependency is up.
const downIntervalMs = 200

/** Probes dependencies once a second, each independently of the others, until it is stopped. */
export function watchReadiness(
  dependencies: Dependency[],
  log: Logger,
  registry: Registry,
  clock: Clock = systemClock
): Readiness {
  const gauge = new Gauge({
    name: 'dependency_up',
    help: 'Result of the last probe of a dependency: 1 up, 0 down',
    labelNames: ['dependency'],
    registers: [registry]
  })
  const watched = dependencies.map((dependency) => watchDependency(dependency, log, gauge, clock))
  let draining = false
  let isStopped = false
  let nextRound: NodeJS.Immediate | undefined

  function probeNow(): void {
    if (isStopped) return
    // Many failures of the same moment start one round.
    nextRound ??= setImmediate(() => {
      nextRound = undefined
      for (const { probeNow } of watched) probeNow()
    })
  }

  probeNow()
  const blocked = () => watched.some(({ state }) => state().blocks)
  return {
    ready: () => !draining && !blocked(),
    blocked,
    draining: () => draining,
    states: () => watched.map(({ state }) => state()),
    requireUp(name) {
      if (watched.some((dependency) => dependency.name === name && dependency.failsFast())) throw dependencyDown()
    },
    drain: () => {
      draining = true
    },
    probeNow,
    stop: () => {
      isStopped = true
      clearImmediate(nextRound)
      for (const { stop } of watched) stop()
    }
  }
}

type ProbeResult = { up: true; warning: string | undefined } | { up: false; reason: string; error: unknown }

const failed = (error: unknown): ProbeResult => ({ up: false, reason: reasonOf(error), error })

function watchDependency({ name, probe, required }: Dependency, log: Logger, gauge: Gauge<'dependency'>, clock: Clock) {
  let result = failed(new ProbeError('not probed yet'))
  let hasBeenUp = false
  let probes = 0
  let latest = 0
  let schedule = new AbortController()
  let isStopped = false
  gauge.set({ dependency: name }, 0)

  async function probeOnce(): Promise<void> {
    probes += 1
    const number = probes
    const found = await withinMs(probeTimeoutMs, probe(), clock).then(
      (warning): ProbeResult => ({ up: true, warning: warning ?? undefined }),
      failed
    )
    // Probes may overlap: discard results that are older than the latest. After the stop, connections are closed.
    if (isStopped || number < latest) return
    latest = number
    record(found)
  }

  function record(found: ProbeResult): void {
    if (found.up && !result.up) log.info({ event: 'dependency_up', dependency: name }, 'dependency is up')
    if (!found.up && (result.up || result.reason !== found.reason)) {
      log.warn({ event: 'dependency_down', dependency: name, reason: found.reason }, 'dependency is down')
    }
    result = found
    hasBeenUp ||= found.up
    gauge.set({ dependency: name }, found.up ? 1 : 0)
  }

  async function keepProbing(): Promise<void> {
    await probeOnce()
    // Of overlapping probes, only the last to finish schedules the next.
    schedule.abort()
    if (isStopped) return
    schedule = new AbortController()
    clock.sleep(result.up ? intervalMs : downIntervalMs, schedule.signal).then(keepProbing, () => {})
  }

  function blocks(): boolean {
    if (result.up) return false
    if (result.error instanceof ProbeError && result.error.blocks) return true
    return required === 'always' || (required === 'at-start' && !hasBeenUp)
  }

  return {
    name,
    state(): DependencyState {
      const shown = result.up ? { reason: undefined, warning: result.warning } : { reason: result.reason }
      return { name, up: result.up, ...shown, blocks: blocks() }
    },
    /** A dependency that responds without being usable does not fail fast, unless its probe demands it. */
    failsFast: () => !result.up && (result.error instanceof ProbeError ? result.error.failsFast : true),
    probeNow: () => void keepProbing(),
    stop(): void {
      isStopped = true
      schedule.abort()
    }
  }
}
