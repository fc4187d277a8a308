/**
 * Decides when the requests of a client count, by policy: before its body is read, and an attempt once more when it is valid.
 * @fastify/rate-limit compares the counts with the limits (rate-limit-checks.ts). docs/security/brute-force.md has the arithmetic of the limits.
 */

import type { FastifyInstance, FastifyRequest, onRequestHookHandler, preHandlerAsyncHookHandler } from 'fastify'
import { deviceTokenOf, requireDevice } from './device-token.ts'
import { isAttempt, type RateLimitPolicy } from './rate-limit-checks.ts'
import { createLimiter, limitedCounter, type RateLimitOptions, type RateLimitParts } from './rate-limiter.ts'

/**
 * Tarpit: the delay of a rejection whose client is known to be over its limit. Without it, a client that ignores
 * `Retry-After` is rejected as fast as it can send, and the event loop serves nothing else: `make bench QUICK=1 ROWS=storm`,
 * 64 such clients: p99 of `GET /session` 26 and 90 ms with the tarpit, 441 and 207 ms without; 42 and 24 logins succeed, or 4
 * and 5. These figures are of the row's earlier form, with a probe in a closed loop.
 */
const tarpitMs = 25

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The other routes and unknown paths have `default`. */
    rateLimitPolicy?: RateLimitPolicy
    /** Whether a success gives most of its units back: it is no guess. */
    countsFailures?: boolean
    /**
     * Whether a client over the limit of its network is admitted by a valid device token: user-svc decides. Twice the limit of
     * such requests are admitted.
     */
    admitsDevices?: boolean
  }
}

const policyOf = ({ routeOptions }: FastifyRequest) => routeOptions.config?.rateLimitPolicy ?? 'default'

const isWithDevice = (request: FastifyRequest) =>
  request.routeOptions.config?.admitsDevices === true && deviceTokenOf(request) !== undefined

export async function limitRates(
  app: FastifyInstance,
  options: RateLimitOptions,
  parts: RateLimitParts
): Promise<void> {
  const limited = limitedCounter(parts.registry)
  if (!options.enabled) return
  const limiter = await createLimiter(app, options, { ...parts, limited })

  const countRequest: onRequestHookHandler = (request, reply, done) => {
    const policy = policyOf(request)
    const early = isAttempt(policy) ? 'default' : policy
    const checked = isAttempt(policy) && !isWithDevice(request) ? [policy, early] : [early]
    for (const each of checked) {
      const excess = limiter.deniedBefore(each, request, reply)
      if (excess) return void setTimeout(() => done(limiter.rejection(each, excess)), tarpitMs)
    }
    limiter.count(early, request, reply).then((excess) => done(excess && limiter.rejection(early, excess)), done)
  }

  const countAttempt: preHandlerAsyncHookHandler = async (request, reply) => {
    const policy = policyOf(request)
    const excess = await limiter.count(policy, request, reply)
    if (excess === undefined) return
    if (!isWithDevice(request) || (await limiter.countDevice(policy, request))) throw limiter.rejection(policy, excess)
    requireDevice(request, () => limiter.rejection(policy, excess))
  }

  app.addHook('onRequest', countRequest)
  app.addHook('onRoute', (route) => {
    if (!isAttempt(route.config?.rateLimitPolicy ?? 'default')) return
    route.preHandler = [...[route.preHandler ?? []].flat(), countAttempt]
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    if (reply.statusCode < 300 && request.routeOptions.config?.countsFailures) limiter.giveBack(request)
    done(null, payload)
  })
}
