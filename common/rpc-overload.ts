/** What an overloaded service has just said is not asked again: a flood that it refuses must not take its time as well. */

import type { DescMethod } from '@bufbuild/protobuf'
import type { Interceptor } from '@connectrpc/connect'
import { untilAborted } from './deadline.ts'
import { isOverload } from './errors.ts'

// A moment against the seconds of work that wait before anything is refused, so nothing runs dry meanwhile; where
// only one of several instances is overloaded, the others are asked ten times a second still.
const restMs = 100
// So many of those who come at once go first: what they are told may be the answer for the others, too.
const vanguard = 16
// Whoever is refused at once should have been told so by then.
const tellingMs = 20

/** What is known of a method. */
interface Gate {
  refusal: unknown
  restsUntil: number
  /** Calls that may still be refused at once. */
  undecided: number
  /** Only while there is no rest. */
  waiting: Set<() => void>
}

/**
 * The interceptor: after a refusal of a method because of overload, calls of it are refused in the same words for a tenth
 * of a second. Of many that come at once the first go first; each that is answered, or not refused at once, lets two more
 * follow, and a refusal is that of all who wait.
 *
 * @param refused is told of each call that is refused here
 */
export function restWhileOverloaded(refused: () => void): Interceptor {
  const gates = new Map<DescMethod, Gate>()

  function gateOf(method: DescMethod): Gate {
    const known = gates.get(method)
    if (known) return known
    const gate: Gate = { refusal: undefined, restsUntil: 0, undecided: 0, waiting: new Set() }
    gates.set(method, gate)
    return gate
  }

  function requireNoRest({ refusal, restsUntil }: Gate): void {
    if (performance.now() >= restsUntil) return
    refused()
    throw refusal
  }

  return (next) => async (request) => {
    const gate = gateOf(request.method)
    requireNoRest(gate)
    if (gate.undecided >= vanguard) {
      await turn(gate, request.signal)
      requireNoRest(gate)
    }
    const decided = enter(gate)
    // What has come in while this process was busy is heard first.
    const timer = setTimeout(() => setImmediate(decided), tellingMs)
    try {
      return await next(request)
    } catch (error) {
      if (isOverload(error)) {
        gate.refusal = error
        gate.restsUntil = performance.now() + restMs
        letFollow(gate, gate.waiting.size)
      }
      throw error
    } finally {
      clearTimeout(timer)
      decided()
    }
  }
}

/** Resolves when those who went first have been heard, or the caller's turn has come. */
async function turn(gate: Gate, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  gate.waiting.add(resolve)
  try {
    await untilAborted(signal, promise)
  } catch (error) {
    // Its turn came at the moment in which it went away.
    if (!gate.waiting.delete(resolve)) letFollow(gate, 1)
    throw error
  }
}

/** @returns to be called when the call can no longer be refused at once */
function enter(gate: Gate): () => void {
  gate.undecided += 1
  let open = true
  return () => {
    if (!open) return
    open = false
    gate.undecided -= 1
    letFollow(gate, 2)
  }
}

function letFollow({ waiting }: Gate, count: number): void {
  let left = count
  for (const go of waiting) {
    if (left === 0) break
    left -= 1
    waiting.delete(go)
    go()
  }
}
