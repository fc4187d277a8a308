/** Audit events of rejected calls (`authz_fail` of the OWASP logging vocabulary), so few that a flood cannot fill the log. */

import { Counter, type Registry } from '@prometheus-io/client'
import type { Logger } from '#common/logging/logger.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import type { RejectionReason } from './credential.ts'

/** A rejected call. */
interface Rejection {
  /** The name of a known caller. */
  caller: string | undefined
  /** The full name of the method. */
  rpc: string
  /** The name of the Connect code; absent for a health check, which is answered. */
  code?: string
  reason: RejectionReason
}

// A caller with one wrong call has its line; a flood has six a minute.
const burst = 10
const refillMs = 10_000

interface Bucket {
  lines: number
  refilledAt: number
  suppressed: number
}

/**
 * Counts rejected calls and logs some of them. Each known caller has a limit of its own, so that a flood of unknown
 * credentials hides no failure of a known caller. The field `count` of a line includes the calls without a line before it.
 */
export function authzFailures(registry: Registry, clock: Pick<Clock, 'now'> = systemClock) {
  const failures = new Counter({
    name: 'rpc_server_authz_failures_total',
    help: 'Rejected calls: without a credential, with an unknown one, or of a method that the caller may not call',
    labelNames: ['reason'] as const,
    registers: [registry]
  })
  for (const reason of ['no_credential', 'unknown_credential', 'method_not_permitted'] satisfies RejectionReason[]) {
    failures.inc({ reason }, 0)
  }
  // As many as there are callers in the configuration, and one for each reason.
  const buckets = new Map<string, Bucket>()

  function bucketOf(key: string): Bucket {
    const now = clock.now()
    const bucket = buckets.get(key) ?? { lines: burst, refilledAt: now, suppressed: 0 }
    buckets.set(key, bucket)
    const refilled = Math.floor((now - bucket.refilledAt) / refillMs)
    bucket.lines = Math.min(burst, bucket.lines + refilled)
    bucket.refilledAt += refilled * refillMs
    return bucket
  }

  return (log: Logger, { caller, ...rejection }: Rejection): void => {
    failures.inc({ reason: rejection.reason })
    const bucket = bucketOf(caller === undefined ? `reason ${rejection.reason}` : `caller ${caller}`)
    if (bucket.lines === 0) {
      bucket.suppressed += 1
      return
    }
    bucket.lines -= 1
    const count = bucket.suppressed + 1
    bucket.suppressed = 0
    log.warn({ event: 'authz_fail', ...rejection, count }, 'rejected a caller')
  }
}
