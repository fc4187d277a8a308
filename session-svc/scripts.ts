/** The Lua scripts that change sessions. All keys of one user share a hash tag, so each script is atomic, on a cluster too. */

import { defineScript } from 'redis'

/*
 * Keys of a user:
 *   s:{uid}:<hash>  a session: "epoch createdAt lastSeenAt expiresAt", times in ms; its TTL is what is left
 *                   of the idle timeout or of the lifetime, whichever is less
 *   e:{uid}         the lowest epoch whose sessions are valid; missing means 0
 *   l:{uid}         hashes of the user's sessions, scored by expiresAt; for listing and counting only
 */

// All instances go by the clock of Redis, which is also the one that expires keys.
const now = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
`

type Parser = { pushKey(key: string): void; pushKeys(keys: string[]): void; push(...args: string[]): void }

function script<Args extends string[], Reply>(lua: string, keys: number) {
  return defineScript({
    SCRIPT: lua,
    NUMBER_OF_KEYS: keys,
    parseCommand(parser: Parser, keyNames: string[], ...args: Args) {
      parser.pushKeys(keyNames)
      parser.push(...args)
    },
    transformReply: undefined as unknown as () => Reply
  })
}

/** Keys: s e l. Replies with createdAt and expiresAt, or with the lowest valid epoch alone if that is above the given one. */
export const createScript = script<
  [epoch: string, lifetimeMs: string, idleMs: string, hash: string, max: string, prefix: string, replaces: string],
  [createdAt: number, expiresAt: number] | [lowestEpoch: number]
>(
  `${now}
local lowest = tonumber(redis.call('GET', KEYS[2]) or '0')
if tonumber(ARGV[1]) < lowest then return {lowest} end
local lifetime, idle, max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
local prefix, replaces = ARGV[6], ARGV[7]
local function finish(hash)
  redis.call('DEL', prefix .. hash)
  redis.call('ZREM', KEYS[3], hash)
end
if replaces ~= '' then finish(replaces) end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
local count = redis.call('ZCARD', KEYS[3])
if count >= max then
  -- Before a live session has to go, those that are dead but still listed do.
  for _, hash in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    local value = redis.call('GET', prefix .. hash)
    if not value or tonumber(string.match(value, '^%d+')) < lowest then finish(hash) end
  end
  local excess = redis.call('ZCARD', KEYS[3]) - max
  if excess >= 0 then
    for _, hash in ipairs(redis.call('ZRANGE', KEYS[3], 0, excess)) do finish(hash) end
  end
end
local expires = now + lifetime
local value = ARGV[1] .. ' ' .. string.format('%.0f %.0f %.0f', now, now, expires)
redis.call('SET', KEYS[1], value, 'PX', math.min(idle, lifetime))
redis.call('ZADD', KEYS[3], expires, ARGV[4])
if redis.call('PTTL', KEYS[3]) < lifetime then redis.call('PEXPIRE', KEYS[3], lifetime) end
return {now, expires}`,
  3
)

/** Keys: s. Counts a use: the idle timeout starts anew, never beyond the lifetime. Replies with the time. */
export const touchScript = script<[idleMs: string], number>(
  `${now}
local value = redis.call('GET', KEYS[1])
if not value then return 0 end
local epoch, created, expires = string.match(value, '^(%d+) (%d+) %d+ (%d+)$')
local ends = math.min(now + tonumber(ARGV[1]), tonumber(expires))
value = epoch .. ' ' .. created .. ' ' .. string.format('%.0f', now) .. ' ' .. expires
redis.call('SET', KEYS[1], value, 'PXAT', string.format('%.0f', ends))
return now`,
  1
)

/** Keys: s l. Ends one session. */
export const deleteScript = script<[hash: string], number>(
  `redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])`,
  2
)

/**
 * Keys: e l. Raises the epoch, never lowers it. It is kept for as long as any session that it
 * ends could live, whatever lifetime was configured when that session was created.
 */
export const revokeScript = script<[epoch: string, lifetimeMs: string], number>(
  `${now}
local keep = tonumber(ARGV[2])
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if last[2] then keep = math.max(keep, tonumber(last[2]) - now) end
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', string.format('%.0f', keep + 60000))
  return 1
end
return 0`,
  2
)
