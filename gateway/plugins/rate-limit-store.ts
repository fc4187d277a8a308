/** The store of @fastify/rate-limit: counts in Redis for all gateways, and in this process while Redis does not answer. */

import { Code } from '@connectrpc/connect'
import type { FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import { defineScript } from 'redis'
import { toConnectError } from '#common/errors/driver-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import type { Redis } from '#common/redis/connection.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { withinMs } from '#common/time/timeout.ts'

const redisTimeoutMs = 200
/** How long Redis is not called after a timeout: otherwise every request would wait for the next one. */
const cooldownMs = 1000
const maxLocalWindows = 10_000

/** The state of a client's window: requests so far, and the milliseconds until the window ends. */
interface Window {
  current: number
  ttl: number
}

/** The scripts that the Redis client of a gateway needs. */
export const rateLimitScripts = {
  countRequest: defineScript({
    NUMBER_OF_KEYS: 1,
    SCRIPT: `
local current = redis.call('INCR', KEYS[1])
if current == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {current, redis.call('PTTL', KEYS[1])}
`,
    parseCommand(parser: { pushKey(key: string): void; push(arg: string): void }, key: string, windowMs: string) {
      parser.pushKey(key)
      parser.push(windowMs)
    },
    transformReply: ([current, ttl]: [number, number]): Window => ({ current, ttl })
  })
}

export type RateLimitRedis = Redis<typeof rateLimitScripts>

export function redisStore(
  redis: RateLimitRedis,
  log: Logger,
  { now }: Pick<Clock, 'now'> = systemClock
): FastifyRateLimitStoreCtor {
  const countLocally = localCounter(now)
  let redisAfter = 0
  let logAfter = 0

  async function count(key: string, windowMs: number): Promise<Window> {
    if (redis.isReady && now() >= redisAfter) {
      try {
        return await withinMs(redisTimeoutMs, redis.countRequest(`rl:${key}`, String(windowMs)))
      } catch (error) {
        // An error that comes at once is of one server; the other servers of a cluster may work.
        if (toConnectError(error).code === Code.DeadlineExceeded) redisAfter = now() + cooldownMs
        if (now() >= logAfter) {
          logAfter = now() + cooldownMs
          log.warn({ event: 'rate_limit_local', err: error }, 'redis did not answer, counted rate limits locally')
        }
      }
    }
    return countLocally(key, windowMs)
  }

  return class {
    incr(key: string, callback: (error: Error | null, result?: Window) => void, windowMs: number): void {
      count(key, windowMs).then((result) => callback(null, result), callback)
    }
    child() {
      return this
    }
  }
}

/** Counts in fixed windows in memory; evicts the oldest window when there are too many. */
function localCounter(now: () => number): (key: string, windowMs: number) => Window {
  const windows = new Map<string, { count: number; endsAt: number }>()
  return (key, windowMs) => {
    let window = windows.get(key)
    if (window === undefined || window.endsAt <= now()) {
      windows.delete(key)
      window = { count: 0, endsAt: now() + windowMs }
      windows.set(key, window)
      if (windows.size > maxLocalWindows) windows.delete(windows.keys().next().value as string)
    }
    window.count += 1
    return { current: window.count, ttl: window.endsAt - now() }
  }
}
