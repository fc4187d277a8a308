/**
 * The scripts by which the previous release creates, uses, ends and revokes sessions, unchanged: they match exactly four
 * numbers, and know no user agents. Remove when this release is no longer the one before the next.
 */

import { luaScript } from '../lua-script.ts'
import { sessionScripts } from '../scripts.ts'

const keepMs = 86_400_000
const roundingMs = 1000
const maxCreatedEpoch = 2n ** 52n - 1n
const maxRevokedEpoch = maxCreatedEpoch + 1n
const maxEpoch = 2n ** 53n - 1n

const now = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
`

const hasEnded = `
local function ended(value, idle, lifetime, lowest)
  local epoch, created, seen = string.match(value, '^(%d+) (%d+) (%d+) %d+$')
  return tonumber(epoch) < lowest or now >= created + lifetime or now >= seen + idle
end
`

const extend = `
local function extend(key, idle, left)
  local ttl = math.min(math.max(idle, ${keepMs}), left) + ${roundingMs}
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, string.format('%.0f', ttl)) end
end
`

const previousCreateScript = `#!lua
${now}${hasEnded}${extend}
local lowest = tonumber(redis.call('GET', KEYS[2]) or '0')
if tonumber(ARGV[1]) < lowest then return {lowest} end
local epoch = string.format('%.0f', math.min(tonumber(ARGV[1]), math.max(${maxCreatedEpoch}, lowest)))
local lifetime, idle, max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
if ARGV[6] ~= '' then redis.call('HDEL', KEYS[1], ARGV[6]) end
local count = redis.call('HLEN', KEYS[1])
-- Ended sessions are swept whenever there are twice as many, and before a live session has to go. The rules of another
-- instance may still allow what these rules do not: only what no rule is likely to allow is swept.
if count >= max or (count >= 8 and bit.band(count, count - 1) == 0) then
  local kept, all = {}, redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local created, expires = string.match(all[i + 1], '^%d+ (%d+) %d+ (%d+)$')
    local longest = math.max(expires - created, lifetime)
    if ended(all[i + 1], math.max(idle, ${keepMs}), longest, lowest) then redis.call('HDEL', KEYS[1], all[i])
    else kept[#kept + 1] = {ended(all[i + 1], idle, lifetime, lowest) and 0 or tonumber(created), all[i]} end
  end
  table.sort(kept, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  for i = 1, #kept - max + 1 do redis.call('HDEL', KEYS[1], kept[i][2]) end
end
local expires = now + lifetime
redis.call('HSET', KEYS[1], ARGV[4], epoch .. ' ' .. string.format('%.0f %.0f %.0f', now, now, expires))
extend(KEYS[1], idle, lifetime)
return {now, expires}`

const previousTouchScript = `#!lua flags=allow-oom
${now}${extend}
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value then return 0 end
local epoch, created, seen, expires = string.match(value, '^(%d+) (%d+) (%d+) (%d+)$')
seen = math.max(tonumber(seen), tonumber(ARGV[2]))
expires = math.max(tonumber(expires), created + ARGV[4])
redis.call('HSET', KEYS[1], ARGV[1], epoch .. ' ' .. created .. ' ' .. string.format('%.0f %.0f', seen, expires))
extend(KEYS[1], tonumber(ARGV[3]), expires - now)
return 1`

const previousRevokeScript = `#!lua flags=allow-oom
${now}${hasEnded}
local lowest = tonumber(redis.call('GET', KEYS[2]) or '0')
local epoch, idle, lifetime = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local stored = redis.call('HVALS', KEYS[1])
if ARGV[2] == '1' then
  epoch = math.max(epoch, lowest + 1, now)
  for i = 1, #stored do epoch = math.max(epoch, tonumber(string.match(stored[i], '^%d+')) + 1) end
end
if epoch <= lowest then return {lowest, 0} end
local count = 0
for i = 1, #stored do
  if tonumber(string.match(stored[i], '^%d+')) < epoch and not ended(stored[i], idle, lifetime, lowest) then count = count + 1 end
end
-- Only epochs that an earlier version accepted are so high: nothing is left to count with, so the sessions are removed.
if epoch > ${maxEpoch} then
  redis.call('DEL', KEYS[1])
  epoch = ${maxRevokedEpoch}
end
redis.call('SET', KEYS[2], string.format('%.0f', epoch), 'PX', ARGV[5])
return {epoch, count}`

export const previousScripts = {
  ...sessionScripts,
  createSession: luaScript<
    [epoch: string, lifetimeMs: string, idleMs: string, hash: string, max: string, replaces: string, agent: string],
    [number, number] | [number]
  >(previousCreateScript),
  touchSession: luaScript<[hash: string, usedAt: string, idleMs: string, lifetimeMs: string], number>(
    previousTouchScript
  ),
  deleteSession: luaScript<[hash: string], number>(`return redis.call('HDEL', KEYS[1], ARGV[1])`),
  revokeSessions: luaScript<
    [epoch: string, all: '0' | '1', idleMs: string, lifetimeMs: string, keepMs: string, kept: string],
    [number, number]
  >(previousRevokeScript)
}
