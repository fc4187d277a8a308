/**
 * The limits of each policy. @fastify/rate-limit draws from its store with the key of a request, and compares the count with
 * the limit. The store counts in sliding windows, and gives units back after the response, which the stores of the plugin
 * cannot: they know counts that grow, and one count for each request.
 */

import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Logger } from '#common/logging/logger.ts'
import { blockOf } from '#common/network/addresses.ts'
import { createWindows, type Draw, keyFor, type RateLimitRedis, storeOf } from './rate-limit-store.ts'

/** An IPv6 /48 has 65,536 networks, and one subscriber can have all of them: together they may send as much as this many. */
const networksPerBlock = 16
/** The requests with a device token that a network over a limit may send, in multiples of the limit. */
const deviceFactor = 2

export const policies = ['default', 'credentials', 'registrations', 'emails', 'session'] as const
export type RateLimitPolicy = (typeof policies)[number]

/** The policies of attempts: their requests count when they are valid; before that they count under `default`. */
const attempts: ReadonlySet<RateLimitPolicy> = new Set(['credentials', 'registrations', 'emails'])
export const isAttempt = (policy: RateLimitPolicy) => attempts.has(policy)

interface CheckParts {
  redis: RateLimitRedis
  log: Logger
  /** The requests of a network within a window; 0: no limit. */
  limits: Record<RateLimitPolicy, number>
  windowMs: number
  networkOfRequest: (request: FastifyRequest) => string
}

type Check = ReturnType<FastifyInstance['createRateLimit']>

/**
 * @returns the checks of each policy: that of the network and, for attempts, that of its IPv6 block. `deviceChecks`: those of
 *   requests with a device token whose network is over the limit
 */
export async function createChecks(app: FastifyInstance, parts: CheckParts) {
  const { redis, log, limits, windowMs, networkOfRequest } = parts
  await app.register(rateLimit, { global: false, timeWindow: windowMs, store: storeOf(createWindows(redis, log)) })
  const draws = new WeakMap<FastifyRequest, Draw[]>()

  function keyOf(name: string, request: FastifyRequest, network: string, givesBack: boolean): string {
    const draw: Draw = { own: `${name}:${network}`, larger: `${name}:${blockOf(network)}` }
    if (givesBack) draws.set(request, [...(draws.get(request) ?? []), draw])
    return keyFor(draw)
  }

  function checksOf(policy: RateLimitPolicy, ofDevices = false): Check[] {
    const max = limits[policy] * (ofDevices ? deviceFactor : 1)
    if (max === 0) return []
    const name = ofDevices ? `${policy}-devices` : policy
    const givesBack = isAttempt(policy) && !ofDevices
    const blockOfRequest = (request: FastifyRequest) => blockOf(networkOfRequest(request))
    const ofNetwork = app.createRateLimit({
      max,
      keyGenerator: (request) => keyOf(name, request, networkOfRequest(request), givesBack)
    })
    if (!isAttempt(policy)) return [ofNetwork]
    const ofBlock = app.createRateLimit({
      max: max * networksPerBlock,
      keyGenerator: (request) => keyOf(name, request, blockOfRequest(request), givesBack),
      allowList: (request) => !blockOfRequest(request).endsWith('/48')
    })
    return [ofNetwork, ofBlock]
  }

  const ofPolicies = (checks: (policy: RateLimitPolicy) => Check[]) =>
    Object.fromEntries(policies.map((policy) => [policy, checks(policy)])) as Record<RateLimitPolicy, Check[]>

  return {
    checks: ofPolicies((policy) => checksOf(policy)),
    deviceChecks: ofPolicies((policy) => (isAttempt(policy) ? checksOf(policy, true) : [])),
    giveBack(request: FastifyRequest): void {
      for (const draw of draws.get(request) ?? []) draw.giveBack?.()
    }
  }
}
