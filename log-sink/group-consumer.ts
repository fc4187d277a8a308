/** Reads the topic as a member of the consumer group; whatever fails, it begins anew. */

import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '#common/time/backoff.ts'
import type { GroupHandler } from './group-handler.ts'
import { type GroupOptions, holdMembership, stopMs } from './group-membership.ts'

const rejoinBackoff = { baseMs: 200, capMs: 1000 }

/** Reads until `stop` aborts, and leaves the group. */
export async function consumeGroup(options: GroupOptions, handler: GroupHandler, stop: AbortSignal): Promise<void> {
  const signals = { stop, late: abortedAfter(stop, stopMs) }
  for (let failures = 0; !stop.aborted; failures += 1) {
    const startedAt = performance.now()
    await holdMembership(options, handler, signals).catch((error) => {
      if (!stop.aborted) handler.failed(error)
    })
    if (performance.now() - startedAt > 30_000) failures = 0
    await sleep(backoffMs(failures, rejoinBackoff), undefined, { signal: stop }).catch(() => {})
  }
}

/** A signal that aborts some time after another one. */
function abortedAfter(signal: AbortSignal, ms: number): AbortSignal {
  const later = new AbortController()
  signal.addEventListener('abort', () => void setTimeout(() => later.abort(), ms).unref(), { once: true })
  return later.signal
}
