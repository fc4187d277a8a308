/** Limits requests by client address, counted in Redis for all gateways, or here when Redis does not answer soon. */

import rateLimit, { type CreateRateLimitOptions } from '@fastify/rate-limit'
import { Counter, type Registry } from '@prometheus-io/client'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { tooManyRequests } from '#common/errors.ts'
import { type Logger, tracedLogger } from '#common/logger.ts'
import type { Redis } from '#common/redis.ts'
import { traceOf } from '../request-context.ts'
import { commandAdapter } from './rate-limit-redis.ts'

/** The policies; a route names its own in `config.rateLimitPolicy`, all others have `default`. */
export type RateLimitPolicy = 'default' | 'credentials' | 'session'

declare module 'fastify' {
  interface FastifyContextConfig {
    rateLimitPolicy?: RateLimitPolicy
  }
}

export interface RateLimitOptions {
  enabled: boolean
  /** In milliseconds. */
  window: number
  max: number
  credentialsMax: number
  /** 0: no limit. */
  sessionMax: number
}

/** @see https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-10.html for the two header fields */
export async function limitRates(
  app: FastifyInstance,
  options: RateLimitOptions,
  parts: { redis: Redis; registry: Registry; log: Logger }
): Promise<void> {
  const limited = new Counter({
    name: 'auth_rate_limited_total',
    help: 'Requests refused by a rate limit, by policy',
    labelNames: ['policy'],
    registers: [parts.registry]
  })
  const limits: Record<RateLimitPolicy, number> = {
    default: options.max,
    credentials: options.credentialsMax,
    session: options.sessionMax
  }
  for (const policy of Object.keys(limits)) limited.inc({ policy }, 0)
  if (!options.enabled) return

  // Its types want an ioredis client; it calls nothing but `defineCommand` and what that defined.
  const redis = commandAdapter(parts.redis, parts.log) as unknown as never
  await app.register(rateLimit, { global: false, redis, nameSpace: 'rl:', timeWindow: options.window })

  type Check = ReturnType<typeof app.createRateLimit>
  const checks = new Map<RateLimitPolicy, Check>()
  for (const [policy, max] of Object.entries(limits) as [RateLimitPolicy, number][]) {
    const keyGenerator = (request: FastifyRequest) => `${policy}:${rateLimit.normalizeIP(request.ip)}`
    if (max > 0) checks.set(policy, app.createRateLimit({ max, keyGenerator } as CreateRateLimitOptions))
  }

  async function enforce(check: Check, policy: RateLimitPolicy, request: FastifyRequest, reply: FastifyReply) {
    const result = await check(request)
    if (result.isAllowed) return
    const { max, remaining, ttlInSeconds, isExceeded } = result
    reply.header('ratelimit-policy', `"${policy}";q=${max};w=${Math.ceil(options.window / 1000)}`)
    reply.header('ratelimit', `"${policy}";r=${remaining};t=${ttlInSeconds}`)
    if (!isExceeded) return
    limited.inc({ policy })
    const log = tracedLogger(parts.log, traceOf(request.raw))
    log.info({ event: 'excess_rate_limit_exceeded', reason: policy }, 'refused a request over the rate limit')
    throw tooManyRequests(ttlInSeconds)
  }

  app.addHook('onRequest', (request, reply, done) => {
    const policy = request.routeOptions.config?.rateLimitPolicy ?? 'default'
    const check = checks.get(policy)
    if (check === undefined) done()
    else enforce(check, policy, request, reply).then(() => done(), done)
  })
}
