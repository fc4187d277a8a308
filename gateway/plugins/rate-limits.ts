/** @fastify/rate-limit: limits the requests of each client address, by policy. */

import rateLimit from '@fastify/rate-limit'
import { Counter, type Registry } from '@prometheus-io/client'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { tooManyRequests } from '#common/errors/connect-errors.ts'
import { type Logger, tracedLogger } from '#common/logging/logger.ts'
import type { ClientOf } from '../client-address.ts'
import { clientClosed } from '../problem.ts'
import { traceOf } from '../request-context.ts'
import { createDenyCache } from './deny-cache.ts'
import { type RateLimitRedis, redisStore } from './rate-limit-store.ts'

/**
 * Tarpit: the delay of a rejection whose client is known to be over its limit. Without it, a client that ignores
 * `Retry-After` is rejected as fast as it can send, and the event loop serves nothing else: `make bench QUICK=1 ROWS=storm`,
 * 64 such clients: p99 of `GET /session` 26 and 90 ms with the tarpit, 441 and 207 ms without; 42 and 24 logins succeed, or 4
 * and 5. These figures are of the row's earlier form, with a probe in a closed loop.
 */
const tarpitMs = 25

/** A route names its policy in `config.rateLimitPolicy`; the other routes and unknown paths have `default`. */
type RateLimitPolicy = 'default' | 'credentials' | 'session'

declare module 'fastify' {
  interface FastifyContextConfig {
    rateLimitPolicy?: RateLimitPolicy
  }
}

interface RateLimitOptions {
  enabled: boolean
  /** In milliseconds. */
  window: number
  max: number
  credentialsMax: number
  /** 0: no limit. */
  sessionMax: number
}

interface Parts {
  redis: RateLimitRedis
  registry: Registry
  log: Logger
  clientOf: ClientOf
}

export async function limitRates(app: FastifyInstance, options: RateLimitOptions, parts: Parts): Promise<void> {
  const limits: Record<RateLimitPolicy, number> = {
    default: options.max,
    credentials: options.credentialsMax,
    session: options.sessionMax
  }
  const limited = limitedCounter(parts.registry, Object.keys(limits))
  if (!options.enabled) return

  const { counts, keyOf } = await createCounts(app, options.window, limits, parts)
  const denied = createDenyCache()

  /** @see https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-10.html */
  function setHeaders(reply: FastifyReply, policy: RateLimitPolicy, remaining: number, seconds: number): void {
    reply.header('ratelimit-policy', `"${policy}";q=${limits[policy]};w=${Math.ceil(options.window / 1000)}`)
    reply.header('ratelimit', `"${policy}";r=${remaining};t=${seconds}`)
  }

  /** @throws ConnectError `resource_exhausted` */
  async function enforce(count: Count, policy: RateLimitPolicy, request: FastifyRequest, reply: FastifyReply) {
    const result = await count(request)
    if (result.isAllowed) return
    const { remaining, ttl, ttlInSeconds, isExceeded } = result
    setHeaders(reply, policy, remaining, ttlInSeconds)
    if (!isExceeded) return
    limited.inc({ policy })
    if (denied.add(keyOf(policy, request), ttl)) {
      const log = tracedLogger(parts.log, traceOf(request.raw))
      log.info({ event: 'excess_rate_limit_exceeded', reason: policy }, 'rejected a client over the rate limit')
    }
    throw tooManyRequests(ttlInSeconds)
  }

  app.addHook('onRequest', (request, reply, done) => {
    const policy = request.routeOptions.config?.rateLimitPolicy ?? 'default'
    const count = counts.get(policy)
    if (count === undefined) return done()
    // The address of a connection that was reset is not known any more.
    if (request.raw.socket.remoteAddress === undefined) return done(clientClosed())
    const seconds = denied.secondsLeft(keyOf(policy, request))
    if (seconds === 0) return void enforce(count, policy, request, reply).then(() => done(), done)
    setHeaders(reply, policy, 0, seconds)
    limited.inc({ policy })
    setTimeout(() => done(tooManyRequests(seconds)), tarpitMs)
  })
}

type Count = ReturnType<FastifyInstance['createRateLimit']>

/** Registers the plugin. @returns the counts of the limited policies, and the key of a client */
async function createCounts(
  app: FastifyInstance,
  windowMs: number,
  limits: Record<RateLimitPolicy, number>,
  { redis, log, clientOf }: Parts
) {
  await app.register(rateLimit, { global: false, timeWindow: windowMs, store: redisStore(redis, log) })
  const keyOf = (policy: RateLimitPolicy, { raw }: FastifyRequest) =>
    `${policy}:${rateLimit.normalizeIP(clientOf(raw) ?? '')}`
  const counts = new Map<RateLimitPolicy, Count>()
  for (const [policy, max] of Object.entries(limits) as [RateLimitPolicy, number][]) {
    const keyGenerator = (request: FastifyRequest) => keyOf(policy, request)
    if (max > 0) counts.set(policy, app.createRateLimit({ max, keyGenerator }))
  }
  return { counts, keyOf }
}

function limitedCounter(registry: Registry, policies: string[]): Counter<'policy'> {
  const counter = new Counter({
    name: 'auth_rate_limited_total',
    help: 'Requests rejected by a rate limit, by policy',
    labelNames: ['policy'],
    registers: [registry]
  })
  for (const policy of policies) counter.inc({ policy }, 0)
  return counter
}
