/** The cooldown after an overload: a flood that a service refuses must not take its time as well. */

import type { DescMethod } from '@bufbuild/protobuf'
import type { Interceptor } from '@connectrpc/connect'
import { isOverload } from '#common/errors/connect-errors.ts'

// A moment against the seconds of work that wait before anything is refused, so nothing runs dry meanwhile; where
// only one of several instances is overloaded, the others are asked ten times a second still.
const cooldownMs = 100

/**
 * The interceptor: after a refusal of a method because of overload, calls of it are refused in the same words for a tenth
 * of a second.
 *
 * @param refused counts a call that is refused here
 */
export function overloadCooldown(refused: () => void): Interceptor {
  const cooldowns = new Map<DescMethod, { refusal: unknown; endsAt: number }>()
  return (next) => async (request) => {
    const cooldown = cooldowns.get(request.method)
    if (cooldown && performance.now() < cooldown.endsAt) {
      refused()
      throw cooldown.refusal
    }
    try {
      return await next(request)
    } catch (error) {
      if (isOverload(error)) cooldowns.set(request.method, { refusal: error, endsAt: performance.now() + cooldownMs })
      throw error
    }
  }
}
