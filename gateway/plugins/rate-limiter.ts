/** Counts the requests of a client under a policy, and describes the limit in the headers of the response. */

import type { Registry } from '@prometheus-io/client'
import { Counter } from '@prometheus-io/client'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { tooManyRequests } from '#common/errors/connect-errors.ts'
import { type Logger, tracedLogger } from '#common/logging/logger.ts'
import { networkOf } from '#common/network/addresses.ts'
import type { ClientOf } from '../client-address.ts'
import { traceOf } from '../request-context.ts'
import { createDenyCache } from './deny-cache.ts'
import { createChecks, policies, type RateLimitPolicy } from './rate-limit-checks.ts'
import type { RateLimitRedis } from './rate-limit-store.ts'

export interface RateLimitOptions {
  enabled: boolean
  /** In milliseconds. */
  window: number
  max: number
  credentialsMax: number
  registrationsMax: number
  emailsMax: number
  /** 0: no limit. */
  sessionMax: number
}

export interface RateLimitParts {
  redis: RateLimitRedis
  registry: Registry
  log: Logger
  clientOf: ClientOf
}

interface LimiterParts extends RateLimitParts {
  limited: Counter<'policy'>
}

/** The whole seconds until a client that is over its limit can try again. */
interface Excess {
  seconds: number
}

export async function createLimiter(app: FastifyInstance, options: RateLimitOptions, parts: LimiterParts) {
  const { log, clientOf, limited } = parts
  const limits: Record<RateLimitPolicy, number> = {
    default: options.max,
    credentials: options.credentialsMax,
    registrations: options.registrationsMax,
    emails: options.emailsMax,
    session: options.sessionMax
  }
  const denied = createDenyCache()
  const networkOfRequest = ({ raw }: FastifyRequest) => networkOf(clientOf(raw) ?? '')
  const denyKey = (policy: RateLimitPolicy, request: FastifyRequest) => `${policy}:${networkOfRequest(request)}`
  const { checks, deviceChecks, giveBack } = await createChecks(app, {
    ...parts,
    limits,
    windowMs: options.window,
    networkOfRequest
  })

  /** @see https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-10.html */
  function setHeaders(reply: FastifyReply, policy: RateLimitPolicy, remaining: number, seconds: number): void {
    reply.header('ratelimit-policy', `"${policy}";q=${limits[policy]};w=${Math.ceil(options.window / 1000)}`)
    reply.header('ratelimit', `"${policy}";r=${remaining};t=${seconds}`)
  }

  /** Remembers the client, and logs it once in a window. */
  function exceeded(policy: RateLimitPolicy, request: FastifyRequest, leftMs: number): Excess {
    if (denied.add(denyKey(policy, request), leftMs)) {
      const requestLog = tracedLogger(log, traceOf(request.raw))
      requestLog.info({ event: 'excess_rate_limit_exceeded', reason: policy }, 'rejected a client over the rate limit')
    }
    return { seconds: Math.ceil(leftMs / 1000) }
  }

  return {
    /** The excess of a client that was over its limit before, without a count. */
    deniedBefore(policy: RateLimitPolicy, request: FastifyRequest, reply: FastifyReply): Excess | undefined {
      const seconds = denied.secondsLeft(denyKey(policy, request))
      if (seconds === 0) return undefined
      setHeaders(reply, policy, 0, seconds)
      return { seconds }
    },

    /** Counts a request. @returns the excess of a client that is over its limit */
    async count(policy: RateLimitPolicy, request: FastifyRequest, reply: FastifyReply): Promise<Excess | undefined> {
      for (const check of checks[policy]) {
        const counted = await check(request)
        // A network outside an IPv6 block has no second limit.
        if (counted.isAllowed) continue
        const { isExceeded, remaining, ttl, ttlInSeconds } = counted
        if (isExceeded || check === checks[policy][0]) setHeaders(reply, policy, Math.floor(remaining), ttlInSeconds)
        if (isExceeded) return exceeded(policy, request, ttl)
      }
      return undefined
    },

    /**
     * Counts a request with a device token whose network is over the limit. Forged tokens count too, and a success gives
     * nothing back. @returns whether the network has sent too many of them
     */
    async countDevice(policy: RateLimitPolicy, request: FastifyRequest): Promise<boolean> {
      for (const check of deviceChecks[policy]) {
        const counted = await check(request)
        if (!counted.isAllowed && counted.isExceeded) return true
      }
      return false
    },

    /** The error of a rejected request. */
    rejection(policy: RateLimitPolicy, { seconds }: Excess) {
      limited.inc({ policy })
      return tooManyRequests(seconds)
    },

    /** Gives back three of the four units of a request that has succeeded. */
    giveBack
  }
}

/** Registers the counter, also where the limits are off. */
export function limitedCounter(registry: Registry): Counter<'policy'> {
  const counter = new Counter({
    name: 'auth_rate_limited_total',
    help: 'Requests rejected by a rate limit, by policy',
    labelNames: ['policy'],
    registers: [registry]
  })
  for (const policy of policies) counter.inc({ policy }, 0)
  return counter
}
