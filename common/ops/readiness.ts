/** Whether a service can do its work now, and if not, why: looked at again and again, told by `/readyz` and the health RPC. */

import { Code } from '@connectrpc/connect'
import { Gauge, type Registry } from '@prometheus-io/client'
import { dependencyDown } from '#common/errors/connect-errors.ts'
import { driverMessage, toConnectError } from '#common/errors/driver-errors.ts'
import { engineReason } from '#common/errors/engine-reason.ts'
import { describeError } from '#common/logging/describe-error.ts'
import type { Logger } from '#common/logging/logger.ts'
import { withinMs } from '#common/time/timeout.ts'

/** Looks at a dependency; throws an error whose message may be shown to an operator when it cannot be used; resolves to a warning, if any. */
// biome-ignore lint/suspicious/noConfusingVoidType: most probes have no warning to return
export type Probe = () => Promise<string | undefined | void>

/** A dependency that a service watches. */
export interface Dependency {
  name: string
  probe: Probe
  /**
   * `always`: without it the service can do nothing. `at-start`: it must have been seen once;
   * later the service does what it still can, and only says that it is away. `never`: it is only watched.
   */
  required: 'always' | 'at-start' | 'never'
}

/** What is known of a dependency. */
export interface DependencyState {
  name: string
  up: boolean
  /** Why it is not up. */
  reason: string | undefined
  /** What an operator should know of a dependency that is up. */
  warning?: string | undefined
  /** Whether its state keeps the service from being ready. */
  blocks: boolean
}

/** The readiness of a service. */
export interface Readiness {
  /** Whether it can do its work and is not about to stop. */
  ready(): boolean
  /** Whether a dependency keeps it from its work. */
  blocked(): boolean
  draining(): boolean
  states(): DependencyState[]
  /** @throws ConnectError `unavailable` while a dependency is known to be away: what needs it would wait in vain */
  requireUp(name: string): void
  /** From now on not ready, for good: the service is stopping. */
  drain(): void
  /** Looks at all dependencies now, since something seems to have changed. */
  probeNow(): void
  stop(): void
}

/** A probe's error that says in words what an operator should know. */
export class ProbeError extends Error {
  override name = 'ProbeError'
  readonly failsFast: boolean
  /** Whether the service is not ready meanwhile, although it could do without the dependency: a mistake of the operator. */
  readonly blocks: boolean

  /** @param failsFast whether calls that need the dependency are refused at once */
  constructor(message: string, failsFast = false, { blocks = false }: { blocks?: boolean } = {}) {
    super(message)
    this.failsFast = failsFast
    this.blocks = blocks
  }
}

const intervalMs = 1000
// Until everything is there, its coming should be noticed soon.
const downIntervalMs = 200
const probeTimeoutMs = 2000

/** Watches dependencies once a second until it is stopped. */
export function watchReadiness(dependencies: Dependency[], log: Logger, registry: Registry): Readiness {
  const gauge = new Gauge({
    name: 'dependency_up',
    help: 'Whether a dependency answers (1) or not (0)',
    labelNames: ['dependency'],
    registers: [registry]
  })
  const watched = dependencies.map((dependency) => {
    gauge.set({ dependency: dependency.name }, 0)
    const state = {
      up: false,
      failsFast: false,
      isMisconfigured: false,
      seen: false,
      reason: 'not probed yet' as string | undefined,
      warning: undefined as string | undefined
    }
    return { ...dependency, ...state, begun: 0, ended: 0, timer: undefined as NodeJS.Timeout | undefined }
  })
  let draining = false
  let stopped = false
  let next: NodeJS.Immediate | undefined

  async function probeOnce(dependency: (typeof watched)[number]): Promise<void> {
    dependency.begun += 1
    const turn = dependency.begun
    let warning: string | undefined
    const error = await withinMs(probeTimeoutMs, dependency.probe()).then(
      (found) => {
        warning = found ?? undefined
        return undefined
      },
      (error: unknown) => error ?? new Error('it gave no reason')
    )
    // Probes may overlap: discard results that are older than the latest.
    if (turn < dependency.ended) return
    dependency.ended = turn
    const reason = error === undefined ? undefined : reasonOf(error)
    const up = reason === undefined
    if (up !== dependency.up || (!up && reason !== dependency.reason)) {
      const fields = { event: up ? 'dependency_up' : 'dependency_down', dependency: dependency.name }
      if (up) log.info(fields, 'dependency is up')
      else log.warn({ ...fields, reason }, 'dependency is down')
    }
    // What answers and may not be relied upon is not away.
    Object.assign(dependency, {
      up,
      reason,
      warning,
      failsFast: !up && (error instanceof ProbeError ? error.failsFast : true),
      isMisconfigured: error instanceof ProbeError && error.blocks,
      seen: dependency.seen || up
    })
    gauge.set({ dependency: dependency.name }, up ? 1 : 0)
  }

  /** Each by itself: one that hangs keeps nobody from looking at the others. */
  async function keepProbing(dependency: (typeof watched)[number]): Promise<void> {
    await probeOnce(dependency)
    // Of overlapping probes, only the last to finish schedules the next.
    clearTimeout(dependency.timer)
    if (stopped) return
    dependency.timer = setTimeout(() => void keepProbing(dependency), dependency.up ? intervalMs : downIntervalMs)
  }

  /** Once for all that is lost at the same moment. */
  function probeNow(): void {
    next ??= setImmediate(() => {
      next = undefined
      for (const dependency of watched) void keepProbing(dependency)
    })
  }

  const first = setTimeout(probeNow, 0)
  const blocks = ({ required, up, seen, isMisconfigured }: (typeof watched)[number]) =>
    isMisconfigured || (required === 'always' ? !up : required === 'at-start' && !seen)
  const blocked = () => watched.some(blocks)
  return {
    ready: () => !draining && !blocked(),
    blocked,
    draining: () => draining,
    states: () =>
      watched.map((dependency) => {
        const { name, up, reason, warning } = dependency
        return { name, up, reason, warning, blocks: blocks(dependency) }
      }),
    requireUp(name) {
      if (watched.some((dependency) => dependency.name === name && dependency.failsFast)) throw dependencyDown()
    },
    drain: () => {
      draining = true
    },
    probeNow,
    stop: () => {
      stopped = true
      clearTimeout(first)
      clearImmediate(next)
      for (const { timer } of watched) clearTimeout(timer)
    }
  }
}

/** Why a probe failed, for an operator: in the engine's own words where they hold no secret. */
export function reasonOf(error: unknown): string {
  if (error instanceof ProbeError) return error.message
  const answer = causesOf(error)
    .map(engineReason)
    .find((reason) => reason !== undefined)
  if (answer !== undefined) return `answers "${answer.message}"${answer.remedy ? `: ${answer.remedy}` : ''}`
  const { code } = toConnectError(error)
  if (code === Code.DeadlineExceeded) return `gives no answer within ${probeTimeoutMs / 1000} s`
  const { type, code: driverCode, cause } = describeError(error)
  const message = causesOf(error)
    .map(driverMessage)
    .find((each) => each !== undefined)
  const detail = cause?.code ?? driverCode ?? message ?? type
  return code === Code.Unavailable ? `cannot be reached (${detail})` : `does not work (${detail})`
}

function causesOf(error: unknown): unknown[] {
  const chain: unknown[] = []
  for (let each = error; each instanceof Error && chain.length < 5; each = each.cause) chain.push(each)
  return chain
}
