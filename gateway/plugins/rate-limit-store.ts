/**
 * The store of @fastify/rate-limit: sliding windows in Redis for all gateways, and in this process while Redis does not answer.
 * The stores of the plugin have fixed windows, which admit twice the limit around an edge, and none counts while Redis is down.
 */

import { Code } from '@connectrpc/connect'
import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import { defineScript } from 'redis'
import { toConnectError } from '#common/errors/driver-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import type { Redis } from '#common/redis/connection.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { withinMs } from '#common/time/timeout.ts'
import { type Limit, localWindows, slotsPerWindow, type Taken, type WindowCount } from './local-windows.ts'

/** The units of a request, and the units that a success gives back: four successful logins count as one failed login. */
const unitsOfRequest = 4
const unitsGivenBack = 3

const redisTimeoutMs = 200
/** How long Redis is not called after a timeout: otherwise every request would wait for the next one. */
const cooldownMs = 1000

interface Parser {
  pushKey(key: string): void
  push(...args: string[]): void
}

/** `slot`: the slot that holds the units. */
type RedisCount = WindowCount & { slot: number }

/** The scripts that the Redis client of a gateway needs. A window is a hash: the units of each slot, by the clock of Redis. */
export const rateLimitScripts = {
  takeUnits: defineScript({
    NUMBER_OF_KEYS: 1,
    SCRIPT: `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local slotMs, max, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local slot = math.floor(now / slotMs)
local used, slots, ended = 0, {}, {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local at, units = tonumber(fields[i]), tonumber(fields[i + 1])
  if at < slot - ${slotsPerWindow} then
    ended[#ended + 1] = fields[i]
  else
    used = used + units
    slots[#slots + 1] = {at, units}
  end
end
if #ended > 0 then redis.call('HDEL', KEYS[1], unpack(ended)) end
local needed = used + cost - max
local admitted = needed <= 0
if admitted then
  redis.call('HINCRBY', KEYS[1], slot, cost)
  redis.call('PEXPIRE', KEYS[1], math.ceil(slotMs * ${slotsPerWindow + 1}))
  used = used + cost
  needed = 1
end
table.sort(slots, function(a, b) return a[1] < b[1] end)
local freed, free = 0, slot
for _, each in ipairs(slots) do
  freed = freed + each[2]
  if freed >= needed then free = each[1] break end
end
return {admitted and 1 or 0, used, math.ceil((free + ${slotsPerWindow + 1}) * slotMs - now), slot}
`,
    parseCommand(parser: Parser, key: string, slotMs: number, max: number, cost: number) {
      parser.pushKey(key)
      parser.push(String(slotMs), String(max), String(cost))
    },
    transformReply: ([admitted, used, leftMs, slot]: [number, number, number, number]): RedisCount => {
      return { isAdmitted: admitted === 1, used, leftMs, slot }
    }
  }),
  giveBackUnits: defineScript({
    NUMBER_OF_KEYS: 1,
    SCRIPT: `
local units = tonumber(redis.call('HGET', KEYS[1], ARGV[1]))
if units then redis.call('HSET', KEYS[1], ARGV[1], math.max(0, units - tonumber(ARGV[2]))) end
`,
    parseCommand(parser: Parser, key: string, slot: number, amount: number) {
      parser.pushKey(key)
      parser.push(String(slot), String(amount))
    },
    transformReply: () => undefined
  })
}

export type RateLimitRedis = Redis<typeof rateLimitScripts>

/** A client under a policy, and the larger network that it shares with neighbours. */
export interface Key {
  own: string
  larger: string
}

type Windows = ReturnType<typeof createWindows>

export function createWindows(redis: RateLimitRedis, log: Logger, { now }: Pick<Clock, 'now'> = systemClock) {
  const local = localWindows(now)
  let redisAfter = 0
  let logAfter = 0

  /** Undefined if Redis does not answer. */
  async function fromRedis<T>(call: () => Promise<T>): Promise<T | undefined> {
    if (!redis.isReady || now() < redisAfter) return undefined
    try {
      return await withinMs(redisTimeoutMs, call())
    } catch (error) {
      // An error that comes at once is of one server; the other servers of a cluster may work.
      if (toConnectError(error).code === Code.DeadlineExceeded) redisAfter = now() + cooldownMs
      if (now() >= logAfter) {
        logAfter = now() + cooldownMs
        log.warn({ event: 'rate_limit_local', err: error }, 'redis did not answer, counted rate limits locally')
      }
      return undefined
    }
  }

  const redisKey = (key: Key) => `rl:w:${key.own}`

  return {
    /** Takes units of a limit, unless fewer are left. */
    async take(key: Key, cost: number, limit: Limit): Promise<Taken> {
      const slotMs = limit.windowMs / slotsPerWindow
      const taken = await fromRedis(() => redis.takeUnits(redisKey(key), slotMs, limit.max, cost))
      if (taken === undefined) return local.take(key.own, key.larger, cost, limit)
      const { slot, ...result } = taken
      return {
        ...result,
        giveBack: (amount) => void fromRedis(() => redis.giveBackUnits(redisKey(key), slot, amount))
      }
    }
  }
}

/** The key of a request, and what the request has drawn. */
export interface Draw extends Key {
  /** Set if the request was admitted: for a request that has succeeded. */
  giveBack?: () => void
}

/** A request as a key: the plugin passes the key to its store as it is, so the store can note the slot of the units in it. */
export const keyFor = (draw: Draw) => draw as unknown as string

/** The store for the plugin. It counts in requests, in parts of a request if units were given back. */
export function storeOf(windows: Windows): FastifyRateLimitStoreCtor {
  return class implements FastifyRateLimitStore {
    child() {
      return this
    }

    incr(key: string, done: Parameters<FastifyRateLimitStore['incr']>[1], windowMs: number, max: number): void {
      const draw = key as unknown as Draw
      const limit = { max: max * unitsOfRequest, windowMs }
      windows.take(draw, unitsOfRequest, limit).then(({ isAdmitted, used, leftMs, giveBack }) => {
        if (isAdmitted) draw.giveBack = () => giveBack(unitsGivenBack)
        done(null, { current: isAdmitted ? used / unitsOfRequest : max + 1, ttl: leftMs })
      }, done)
    }
  }
}
