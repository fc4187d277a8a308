/** Spreads the calls to a service over its instances: in turn over those that live, and a repeated call over others. */

import type { ClientHttp2Stream } from 'node:http2'
import type { Interceptor } from '@connectrpc/connect'
import type { ConnectTransportOptions } from '@connectrpc/connect-node'
import type { Breaker } from './breaker.ts'

// From the interceptor, which chooses, to the connections; it never leaves the process.
const chosenHeader = 'x-instance'

type Sessions = NonNullable<Extract<ConnectTransportOptions, { httpVersion: '2' }>['sessionManager']>

/** The interceptor that chooses an instance for each attempt and passes its breaker. */
export function balance(breakers: readonly Breaker[]): Interceptor {
  const [only] = breakers
  if (breakers.length === 1 && only) return only.intercept
  const lastTried = new WeakMap<object, number>()
  let turn = Math.floor(Math.random() * breakers.length)

  function choose(request: object): number {
    const inTurn = breakers.map((_, offset) => (turn + offset) % breakers.length)
    const alive = inTurn.filter((index) => breakers[index]?.state() === 'closed')
    const chosen = alive.find((index) => index !== lastTried.get(request)) ?? alive[0] ?? turn
    turn = (chosen + 1) % breakers.length
    lastTried.set(request, chosen)
    return chosen
  }

  return (next) => {
    const ways = breakers.map((breaker) => breaker.intercept(next))
    return (request) => {
      const chosen = choose(request)
      request.header.set(chosenHeader, String(chosen))
      return (ways[chosen] as typeof next)(request)
    }
  }
}

/** The connections to all instances as one; a call takes that of the instance which was chosen for it. */
export function joinedSessions(instances: readonly Sessions[]): Sessions {
  const [first] = instances as [Sessions]
  if (instances.length === 1) return first
  const takers = new WeakMap<ClientHttp2Stream, Sessions>()
  return {
    authority: first.authority,
    async request(method, path, { [chosenHeader]: chosen, ...headers }, options) {
      const taker = instances[Number(chosen ?? 0)] as Sessions
      const stream = await taker.request(method, path, headers, options)
      takers.set(stream, taker)
      return stream
    },
    notifyResponseByteRead: (stream) => takers.get(stream)?.notifyResponseByteRead(stream)
  }
}
