/** Spreads the calls to a service over its instances: in turn over those that live, and a repeated call over others. */

import type { ClientHttp2Stream } from 'node:http2'
import type { Interceptor } from '@connectrpc/connect'
import type { Breaker } from './breaker.ts'
import type { SessionManager } from './rpc-connection.ts'

// From the interceptor, which chooses, to the connections; it never leaves the process.
const chosenHeader = 'x-instance'

/** What is known of an instance. */
export interface Instance {
  breaker: Breaker
  /** Whether it said so when it was last asked for its health. */
  isServing(): boolean
}

/**
 * The interceptor that chooses an instance for each attempt and passes its breaker. One that did not answer last time,
 * or says that it does not serve, since it starts or stops, is called only if there is no other.
 */
export function balance(instances: readonly Instance[]): Interceptor {
  const [only] = instances
  if (instances.length === 1 && only) return only.breaker.intercept
  const lastTried = new WeakMap<object, number>()
  const underWay = instances.map(() => 0)
  let turn = Math.floor(Math.random() * instances.length)

  function choose(request: object): number {
    // One that leaves calls unanswered gets no more of them than the others.
    const inTurn = instances
      .map((_, offset) => (turn + offset) % instances.length)
      .sort((a, b) => (underWay[a] ?? 0) - (underWay[b] ?? 0))
    const closed = inTurn.filter((index) => instances[index]?.breaker.state() === 'closed')
    const untried = closed.filter((index) => index !== lastTried.get(request))
    const well = untried.find((index) => !instances[index]?.breaker.failing() && instances[index]?.isServing())
    const chosen = well ?? untried[0] ?? closed[0] ?? turn
    turn = (chosen + 1) % instances.length
    lastTried.set(request, chosen)
    return chosen
  }

  return (next) => {
    const ways = instances.map(({ breaker }) => breaker.intercept(next))
    return async (request) => {
      const chosen = choose(request)
      request.header.set(chosenHeader, String(chosen))
      underWay[chosen] = (underWay[chosen] ?? 0) + 1
      try {
        return await (ways[chosen] as typeof next)(request)
      } finally {
        underWay[chosen] = (underWay[chosen] ?? 0) - 1
      }
    }
  }
}

/** The connections to all instances as one; a call takes that of the instance which was chosen for it. */
export function joinedSessions(instances: readonly SessionManager[]): SessionManager {
  const [first] = instances as [SessionManager]
  if (instances.length === 1) return first
  const takers = new WeakMap<ClientHttp2Stream, SessionManager>()
  return {
    authority: first.authority,
    async request(method, path, { [chosenHeader]: chosen, ...headers }, options) {
      const taker = instances[Number(chosen ?? 0)] as SessionManager
      const stream = await taker.request(method, path, headers, options)
      takers.set(stream, taker)
      return stream
    },
    notifyResponseByteRead: (stream) => takers.get(stream)?.notifyResponseByteRead(stream)
  }
}
