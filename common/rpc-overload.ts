/** What an overloaded service has just said is not asked again: a flood that it refuses must not take its time as well. */

import type { DescMethod } from '@bufbuild/protobuf'
import type { Interceptor } from '@connectrpc/connect'
import { isOverload } from './errors.ts'

// A moment against the seconds of work that wait before anything is refused, so nothing runs dry meanwhile; where
// only one of several instances is overloaded, the others are asked ten times a second still.
const restMs = 100

/**
 * The interceptor: after a refusal of a method because of overload, calls of it are refused in the same words for a tenth
 * of a second.
 *
 * @param refused is told of each of them
 */
export function restWhileOverloaded(refused: () => void): Interceptor {
  const refusals = new Map<DescMethod, { error: unknown; endsAt: number }>()
  return (next) => async (request) => {
    const last = refusals.get(request.method)
    if (last !== undefined && performance.now() < last.endsAt) {
      refused()
      throw last.error
    }
    try {
      return await next(request)
    } catch (error) {
      if (isOverload(error)) refusals.set(request.method, { error, endsAt: performance.now() + restMs })
      throw error
    }
  }
}
