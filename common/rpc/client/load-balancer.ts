/** Balances calls over the instances of a service: least outstanding requests first, then round robin. */

import type { UnaryRequest, UnaryResponse } from '@connectrpc/connect'
import type { Breaker } from './circuit-breaker.ts'
import { isNotProcessed } from './retry.ts'
import type { UnaryCall } from './unary-client.ts'

/** An instance, its state, and how it is called. */
export interface Instance {
  breaker: Pick<Breaker, 'state' | 'failing'>
  /** Whether its last health check reported SERVING. */
  isServing(): boolean
  /** Sends through the breaker. */
  call: UnaryCall
}

/**
 * Chooses an instance for each attempt of a call, for a retry another one. An instance that failed the last call, or
 * reports that it does not serve because it starts or stops, is chosen only if there is no other.
 *
 * A call that its instance certainly did not process is sent once more, to another instance: at once, outside the retry
 * budget, and whatever its contract declares (gRPC: "transparent retry"). The breaker of the other instance may be open: it
 * probes before it rejects the call. In a rolling restart, the only instance that serves can be one whose return no health
 * check has noticed.
 */
export function balance<T extends Instance>(instances: readonly T[]): { choose(request: object): T; call: UnaryCall } {
  const [only] = instances
  if (instances.length === 1 && only) return { choose: () => only, call: only.call }
  const lastTried = new WeakMap<object, T>()
  const outstanding = new Map(instances.map((instance) => [instance, 0]))
  const outstandingOf = (instance: T) => outstanding.get(instance) ?? 0
  let next = Math.floor(Math.random() * instances.length)

  function choose(request: object): T {
    const ordered = [...instances.slice(next), ...instances.slice(0, next)].sort(
      (a, b) => outstandingOf(a) - outstandingOf(b)
    )
    const untried = ordered.filter((instance) => instance !== lastTried.get(request))
    const closed = untried.filter(({ breaker }) => breaker.state() === 'closed')
    const healthy = closed.find(({ breaker, isServing }) => !breaker.failing() && isServing())
    const chosen = healthy ?? closed[0] ?? (untried[0] as T)
    next = (instances.indexOf(chosen) + 1) % instances.length
    lastTried.set(request, chosen)
    return chosen
  }

  async function send(request: UnaryRequest): Promise<UnaryResponse> {
    const chosen = choose(request)
    outstanding.set(chosen, outstandingOf(chosen) + 1)
    try {
      return await chosen.call(request)
    } finally {
      outstanding.set(chosen, outstandingOf(chosen) - 1)
    }
  }

  return {
    choose,
    async call(request) {
      try {
        return await send(request)
      } catch (error) {
        if (!isNotProcessed(error) || request.signal.aborted) throw error
        return send(request).catch((second) => {
          throw isNotProcessed(second) ? error : second
        })
      }
    }
  }
}
