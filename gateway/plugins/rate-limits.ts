/** Limits requests by client address, counted in Redis for all gateways, or here when Redis does not answer soon. */

import { Code, ConnectError } from '@connectrpc/connect'
import rateLimit, { type CreateRateLimitOptions } from '@fastify/rate-limit'
import { Counter, type Registry } from '@prometheus-io/client'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { tooManyRequests } from '#common/errors/connect-errors.ts'
import { type Logger, tracedLogger } from '#common/logging/logger.ts'
import type { Redis } from '#common/redis/connection.ts'
import type { ClientOf } from '../client-address.ts'
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
  parts: { redis: Redis; registry: Registry; log: Logger; clientOf: ClientOf }
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
  const keyOf = (policy: RateLimitPolicy, { raw }: FastifyRequest) =>
    `${policy}:${rateLimit.normalizeIP(parts.clientOf(raw) ?? '')}`
  for (const [policy, max] of Object.entries(limits) as [RateLimitPolicy, number][]) {
    const keyGenerator = (request: FastifyRequest) => keyOf(policy, request)
    if (max > 0) checks.set(policy, app.createRateLimit({ max, keyGenerator } as CreateRateLimitOptions))
  }
  const exceeded = windowsExceeded()

  function tell(policy: RateLimitPolicy, remaining: number, seconds: number, reply: FastifyReply): void {
    reply.header('ratelimit-policy', `"${policy}";q=${limits[policy]};w=${Math.ceil(options.window / 1000)}`)
    reply.header('ratelimit', `"${policy}";r=${remaining};t=${seconds}`)
  }

  /** @throws ConnectError `resource_exhausted` */
  async function enforce(check: Check, policy: RateLimitPolicy, request: FastifyRequest, reply: FastifyReply) {
    const result = await check(request)
    if (result.isAllowed) return
    const { remaining, ttl, ttlInSeconds, isExceeded } = result
    tell(policy, remaining, ttlInSeconds, reply)
    if (!isExceeded) return
    limited.inc({ policy })
    if (exceeded.add(keyOf(policy, request), ttl)) {
      const log = tracedLogger(parts.log, traceOf(request.raw))
      log.info({ event: 'excess_rate_limit_exceeded', reason: policy }, 'refused a client over the rate limit')
    }
    throw tooManyRequests(ttlInSeconds)
  }

  app.addHook('onRequest', (request, reply, done) => {
    const policy = request.routeOptions.config?.rateLimitPolicy ?? 'default'
    const check = checks.get(policy)
    if (check === undefined) return done()
    // The connection was reset before anybody asked whose it was.
    if (request.raw.socket.remoteAddress === undefined)
      return done(new ConnectError('The client went away.', Code.Canceled))
    const seconds = exceeded.secondsLeft(keyOf(policy, request))
    if (seconds === 0) return void enforce(check, policy, request, reply).then(() => done(), done)
    tell(policy, 0, seconds, reply)
    limited.inc({ policy })
    setTimeout(() => done(tooManyRequests(seconds)), paceMs)
  })
}

const mostExceeded = 10_000
// Whoever asks again without waiting, though he was told how long, would otherwise be refused as fast as he can ask,
// and all others would stand in that queue.
const paceMs = 25

/**
 * Who is over a limit stays so until the window ends, so nobody needs to be asked about it again: a flood of refused
 * requests costs Redis nothing. When there are too many, the oldest is forgotten, and counted again.
 */
function windowsExceeded() {
  const ends = new Map<string, number>()
  return {
    /** @returns whether that was not known yet */
    add(key: string, leftMs: number): boolean {
      const isNew = !ends.delete(key)
      ends.set(key, performance.now() + leftMs)
      if (ends.size > mostExceeded) ends.delete(ends.keys().next().value as string)
      return isNew
    },
    /** 0: it is not known to be over the limit. */
    secondsLeft(key: string): number {
      const end = ends.get(key)
      if (end === undefined) return 0
      const leftMs = end - performance.now()
      if (leftMs <= 0) ends.delete(key)
      return Math.max(0, Math.ceil(leftMs / 1000))
    }
  }
}
