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

/** @returns the checks of each policy: that of the network and, for attempts, that of its IPv6 block */
export async function createChecks(app: FastifyInstance, parts: CheckParts) {
  const { redis, log, limits, windowMs, networkOfRequest } = parts
  await app.register(rateLimit, { global: false, timeWindow: windowMs, store: storeOf(createWindows(redis, log)) })
  const draws = new WeakMap<FastifyRequest, Draw[]>()

  function keyOf(policy: RateLimitPolicy, request: FastifyRequest, network: string): string {
    const draw: Draw = { own: `${policy}:${network}`, larger: `${policy}:${blockOf(network)}` }
    if (isAttempt(policy)) draws.set(request, [...(draws.get(request) ?? []), draw])
    return keyFor(draw)
  }

  function checksOf(policy: RateLimitPolicy): Check[] {
    const max = limits[policy]
    if (max === 0) return []
    const blockOfRequest = (request: FastifyRequest) => blockOf(networkOfRequest(request))
    const ofNetwork = app.createRateLimit({
      max,
      keyGenerator: (request) => keyOf(policy, request, networkOfRequest(request))
    })
    if (!isAttempt(policy)) return [ofNetwork]
    const ofBlock = app.createRateLimit({
      max: max * networksPerBlock,
      keyGenerator: (request) => keyOf(policy, request, blockOfRequest(request)),
      allowList: (request) => !blockOfRequest(request).endsWith('/48')
    })
    return [ofNetwork, ofBlock]
  }

  return {
    checks: Object.fromEntries(policies.map((policy) => [policy, checksOf(policy)])) as Record<
      RateLimitPolicy,
      Check[]
    >,
    giveBack(request: FastifyRequest): void {
      for (const draw of draws.get(request) ?? []) draw.giveBack?.()
    }
  }
}
