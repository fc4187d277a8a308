/** The Lua scripts that change sessions. All keys of one user share a hash tag, so each script is atomic, on a cluster too. */

import { defineScript } from 'redis'
import { maxCreatedEpoch, maxEpoch, maxRevokedEpoch } from '#common/session-epoch.ts'

/*
 * Keys of a user:
 *   s:{uid}  a hash: of each session its digest and "epoch createdAt lastSeenAt expiresAt", times in ms. One key for
 *            all of them takes half the memory of one for each. It expires with the last of them; until then
 *            those that have ended are told by their times.
 *   e:{uid}  the lowest epoch whose sessions are valid; missing means 0
 */

// All instances go by the clock of Redis, which is also the one that expires keys.
const now = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
`

type Parser = { pushKey(key: string): void; pushKeys(keys: string[]): void; push(...args: string[]): void }

function script<Args extends string[], Reply>(lua: string) {
  return defineScript({
    SCRIPT: lua,
    parseCommand(parser: Parser, keys: string[], ...args: Args) {
      parser.push(String(keys.length))
      parser.pushKeys(keys)
      parser.push(...args)
    },
    transformReply: undefined as unknown as () => Reply
  })
}

// Whether a session has ended by itself or by a revocation. `lowest` is the user's lowest valid epoch.
const hasEnded = `
local function ended(value, idle, lowest)
  local epoch, seen, expires = string.match(value, '^(%d+) %d+ (%d+) (%d+)$')
  return tonumber(epoch) < lowest or now >= tonumber(expires) or now >= tonumber(seen) + idle
end
`

/**
 * Keys: s e for each token; arguments: their digests. Replies with the time and then, for each token, what is
 * stored of it and the lowest valid epoch. One command for a batch; on a cluster, a batch is of one user.
 */
export const readScript = script<string[], [now: number, ...(string | null)[]]>(
  `${now}
local reply = {now}
for i = 1, #ARGV do
  reply[2 * i] = redis.call('HGET', KEYS[2 * i - 1], ARGV[i])
  reply[2 * i + 1] = redis.call('GET', KEYS[2 * i])
end
return reply`
)

/** Keys: s e. Replies with createdAt and expiresAt, or with the lowest valid epoch alone if that is above the given one. */
export const createScript = script<
  [epoch: string, lifetimeMs: string, idleMs: string, hash: string, max: string, replaces: string],
  [createdAt: number, expiresAt: number] | [lowestEpoch: number]
>(
  `${now}${hasEnded}
local lowest = tonumber(redis.call('GET', KEYS[2]) or '0')
if tonumber(ARGV[1]) < lowest then return {lowest} end
local epoch = string.format('%.0f', math.min(tonumber(ARGV[1]), math.max(${maxCreatedEpoch}, lowest)))
local lifetime, idle, max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
-- Not in vain: the first write of a script is the one that Redis refuses when it is out of memory.
if ARGV[6] ~= '' then redis.call('HDEL', KEYS[1], ARGV[6]) end
local count = redis.call('HLEN', KEYS[1])
-- What has ended is swept out now and then: whenever there are twice as many, and before a live session has to go.
if count >= max or (count >= 8 and bit.band(count, count - 1) == 0) then
  local live, all = {}, redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if ended(all[i + 1], idle, lowest) then redis.call('HDEL', KEYS[1], all[i])
    else live[#live + 1] = {tonumber(string.match(all[i + 1], '%d+$')), all[i]} end
  end
  table.sort(live, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  for i = 1, #live - max + 1 do redis.call('HDEL', KEYS[1], live[i][2]) end
end
local expires = now + lifetime
redis.call('HSET', KEYS[1], ARGV[4], epoch .. ' ' .. string.format('%.0f %.0f %.0f', now, now, expires))
local ttl = math.min(idle, lifetime)
if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
return {now, expires}`
)

/** Keys: s. Counts a use: the idle timeout starts anew, never beyond the lifetime. */
export const touchScript = script<[hash: string, idleMs: string], number>(
  `${now}
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value then return 0 end
local epoch, created, expires = string.match(value, '^(%d+) (%d+) %d+ (%d+)$')
redis.call('HSET', KEYS[1], ARGV[1], epoch .. ' ' .. created .. ' ' .. string.format('%.0f', now) .. ' ' .. expires)
local ttl = math.min(tonumber(ARGV[2]), tonumber(expires) - now)
if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ttl)) end
return 1`
)

/**
 * Keys: s e. Raises the epoch, never lowers it: one write, however many sessions end by it. `all` raises it above the
 * stored epoch, above that of every session and above the clock: a user's account has adopted earlier epochs only, so
 * this holds also where Redis has lost the stored epoch. Replies with the epoch that applies and the number of sessions
 * that ended.
 */
export const revokeScript = script<
  [epoch: string, all: '0' | '1', idleMs: string, keepMs: string],
  [epoch: number, ended: number]
>(
  `${now}${hasEnded}
local lowest = tonumber(redis.call('GET', KEYS[2]) or '0')
local epoch, idle = tonumber(ARGV[1]), tonumber(ARGV[3])
local stored = redis.call('HVALS', KEYS[1])
if ARGV[2] == '1' then
  epoch = math.max(epoch, lowest + 1, now)
  for i = 1, #stored do epoch = math.max(epoch, tonumber(string.match(stored[i], '^%d+')) + 1) end
end
if epoch <= lowest then return {lowest, 0} end
local count = 0
for i = 1, #stored do
  if tonumber(string.match(stored[i], '^%d+')) < epoch and not ended(stored[i], idle, lowest) then count = count + 1 end
end
-- Only epochs that an earlier version accepted are so high: nothing is left to count with, so the sessions are removed.
if epoch > ${maxEpoch} then
  redis.call('DEL', KEYS[1])
  epoch = ${maxRevokedEpoch}
end
redis.call('SET', KEYS[2], string.format('%.0f', epoch), 'PX', ARGV[4])
return {epoch, count}`
)
