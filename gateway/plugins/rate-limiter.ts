/** Counts the requests of a client under a policy, and describes the limit in the headers of the response. */

import type { Registry } from '@prometheus-io/client'
import { Counter } from '@prometheus-io/client'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { tooManyRequests } from '#common/errors/connect-errors.ts'
import { type Logger, tracedLogger } from '#common/logging/logger.ts'
import { blockOf, type ClientOf, networkOf } from '../client-address.ts'
import { traceOf } from '../request-context.ts'
import { createDenyCache } from './deny-cache.ts'
import { createStore, type Key, type RateLimitRedis } from './rate-limit-store.ts'

/** The units of a request, and the units that a success gives back: four logins that succeed count as one that fails. */
const unitsOfRequest = 4
const unitsGivenBack = 3
/** An IPv6 /48 has 65,536 networks, and one subscriber can have all of them: together they may send as much as this many. */
const networksPerBlock = 16

const policies = ['default', 'credentials', 'registrations', 'emails', 'session'] as const
export type RateLimitPolicy = (typeof policies)[number]

/** The policies of attempts: their requests count when they are valid; before that they count under `default`. */
const attempts: ReadonlySet<RateLimitPolicy> = new Set(['credentials', 'registrations', 'emails'])
export const isAttempt = (policy: RateLimitPolicy) => attempts.has(policy)

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

/** The whole seconds until a client that is over its limit can try again. */
interface Excess {
  seconds: number
}

export function createLimiter(options: RateLimitOptions, { redis, registry, log, clientOf }: RateLimitParts) {
  const limits: Record<RateLimitPolicy, number> = {
    default: options.max,
    credentials: options.credentialsMax,
    registrations: options.registrationsMax,
    emails: options.emailsMax,
    session: options.sessionMax
  }
  const limited = limitedCounter(registry)
  const store = createStore(redis, log)
  const denied = createDenyCache()
  const givesBack = new WeakMap<FastifyRequest, (units: number) => void>()

  /** @see https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-10.html */
  function setHeaders(reply: FastifyReply, policy: RateLimitPolicy, remaining: number, seconds: number): void {
    reply.header('ratelimit-policy', `"${policy}";q=${limits[policy]};w=${Math.ceil(options.window / 1000)}`)
    reply.header('ratelimit', `"${policy}";r=${remaining};t=${seconds}`)
  }

  const networkOfRequest = ({ raw }: FastifyRequest) => networkOf(clientOf(raw) ?? '')
  const denyKey = (policy: RateLimitPolicy, request: FastifyRequest) => `${policy}:${networkOfRequest(request)}`

  /** The units of the network, and those of its IPv6 block, which an attempt takes too. */
  async function take(policy: RateLimitPolicy, network: string) {
    const max = limits[policy] * unitsOfRequest
    const limit = { max, windowMs: options.window }
    const block = blockOf(network)
    const key: Key = { own: `${policy}:${network}`, larger: `${policy}:${block}` }
    const own = await store.take(key, unitsOfRequest, limit)
    if (!own.isAdmitted || !attempts.has(policy) || !block.endsWith('/48')) return own
    const blockKey = { own: key.larger, larger: key.larger }
    const shared = await store.take(blockKey, unitsOfRequest, { ...limit, max: max * networksPerBlock })
    const giveBack = (units: number) => {
      own.giveBack(units)
      shared.giveBack(units)
    }
    return shared.isAdmitted ? { ...own, giveBack } : { ...shared, used: max }
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
      if (limits[policy] === 0) return undefined
      const { isAdmitted, used, leftMs, giveBack } = await take(policy, networkOfRequest(request))
      const seconds = Math.ceil(leftMs / 1000)
      setHeaders(reply, policy, Math.max(0, Math.floor(limits[policy] - used / unitsOfRequest)), seconds)
      if (isAdmitted) {
        givesBack.set(request, giveBack)
        return undefined
      }
      if (denied.add(denyKey(policy, request), leftMs)) {
        const requestLog = tracedLogger(log, traceOf(request.raw))
        requestLog.info(
          { event: 'excess_rate_limit_exceeded', reason: policy },
          'rejected a client over the rate limit'
        )
      }
      return { seconds }
    },

    /** The error of a rejected request. */
    rejection(policy: RateLimitPolicy, { seconds }: Excess) {
      limited.inc({ policy })
      return tooManyRequests(seconds)
    },

    /** Gives back the units of a request that has succeeded. */
    giveBack(request: FastifyRequest): void {
      givesBack.get(request)?.(unitsGivenBack)
    }
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
