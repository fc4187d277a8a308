/** Spreads the calls to a service over its instances: in turn over those that live, and a repeated call over others. */

import type { Breaker } from './circuit-breaker.ts'
import type { UnaryCall } from './unary-client.ts'

/** An instance, what is known of it, and how it is called. */
export interface Instance {
  breaker: Pick<Breaker, 'state' | 'failing'>
  /** Whether it said so when it was last asked for its health. */
  isServing(): boolean
  /** Passes its breaker. */
  call: UnaryCall
}

/**
 * Chooses an instance for each attempt of a call. An instance that did not answer the last call, or reports that it does
 * not serve because it starts or stops, is called only if there is no other.
 */
export function balance<T extends Instance>(instances: readonly T[]): { choose(request: object): T; call: UnaryCall } {
  const [only] = instances
  if (instances.length === 1 && only) return { choose: () => only, call: only.call }
  const lastTried = new WeakMap<object, T>()
  const underWay = new Map(instances.map((instance) => [instance, 0]))
  const count = (instance: T, change: number) => underWay.set(instance, (underWay.get(instance) ?? 0) + change)
  let turn = Math.floor(Math.random() * instances.length)

  function choose(request: object): T {
    // Least outstanding calls first: an instance that leaves calls unanswered gets no more of them than the others.
    const inTurn = [...instances.slice(turn), ...instances.slice(0, turn)].sort(
      (a, b) => (underWay.get(a) ?? 0) - (underWay.get(b) ?? 0)
    )
    const closed = inTurn.filter(({ breaker }) => breaker.state() === 'closed')
    const untried = closed.filter((instance) => instance !== lastTried.get(request))
    const well = untried.find(({ breaker, isServing }) => !breaker.failing() && isServing())
    const chosen = well ?? untried[0] ?? closed[0] ?? (inTurn[0] as T)
    turn = (instances.indexOf(chosen) + 1) % instances.length
    lastTried.set(request, chosen)
    return chosen
  }

  return {
    choose,
    async call(request) {
      const chosen = choose(request)
      count(chosen, 1)
      try {
        return await chosen.call(request)
      } finally {
        count(chosen, -1)
      }
    }
  }
}
