/** The Lua scripts that read and change sessions. All keys of one user share a hash tag, so each script is atomic, on a cluster too. */

import { defineScript } from 'redis'
import type { Redis } from '#common/redis/connection.ts'
import { maxCreatedEpoch, maxEpoch, maxRevokedEpoch } from '#common/session/session-epoch.ts'

/*
 * Keys of a user:
 *   s:{uid}  a hash: of each session its digest and "epoch createdAt lastSeenAt expiresAt", times in ms. One key for
 *            all of them takes half the memory of one for each. `expiresAt` is the latest end that any instance which
 *            the session was used at allows. The key expires with the last of them, or earlier when none is used for
 *            `keepMs` or the idle timeout, whichever is longer. The rules of an instance decide which sessions are
 *            valid; the key only has to outlast them.
 *   e:{uid}  the lowest epoch whose sessions are valid; missing means 0
 *
 * The flags of a script tell Redis, before the script runs, what it will do. `no-writes` runs while writes are refused
 * (MISCONF, OOM, NOREPLICAS) or paused (CLIENT PAUSE WRITE, CLUSTER FAILOVER). `allow-oom` runs when the memory is full:
 * the end of a session needs next to none.
 */

/** Unused sessions stay this long at least, so that a longer `session.idleTimeout` finds them. */
export const keepMs = 86_400_000

// All instances use the clock of Redis, which also expires keys.
const now = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
`

type Parser = { pushKeys(keys: string[]): void; push(...args: string[]): void }

// While writes are paused, Redis delays an EVALSHA of a script that it does not know yet, and answers EVALSHA_RO.
function script<Args extends string[], Reply>(lua: string, isReadOnly = false) {
  return defineScript({
    SCRIPT: lua,
    IS_READ_ONLY: isReadOnly,
    parseCommand(parser: Parser, keys: string[], ...args: Args) {
      parser.push(String(keys.length))
      parser.pushKeys(keys)
      parser.push(...args)
    },
    transformReply: undefined as unknown as () => Reply
  })
}

// The scripts round the time, and so does Redis.
const roundingMs = 1000

// Whether the rules of the instance that asks, or a revocation, have ended a session. `lowest` is the user's lowest valid epoch.
const hasEnded = `
local function ended(value, idle, lifetime, lowest)
  local epoch, created, seen = string.match(value, '^(%d+) (%d+) (%d+) %d+$')
  return tonumber(epoch) < lowest or now >= created + lifetime or now >= seen + idle
end
`

// Extends the life of the key, so that it outlasts a session by the rules of the instance that asks.
const extend = `
local function extend(key, idle, left)
  local ttl = math.min(math.max(idle, ${keepMs}), left) + ${roundingMs}
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, string.format('%.0f', ttl)) end
end
`

/**
 * Keys: s e for each token; arguments: their digests. Replies with the time and then, for each token, what is
 * stored of it, the lowest valid epoch, and how long the key s lives. One command for a batch; on a cluster, a batch is
 * of one user. A server that has become a replica refuses: it would show sessions that have ended at its master.
 */
const readScript = script<string[], [now: number, ...(string | number | null)[]]>(
  `#!lua flags=no-writes
${now}
local known, permitted = pcall(redis.acl_check_cmd, 'INFO', 'replication')
if known and permitted and string.find(redis.call('INFO', 'replication'), 'role:slave', 1, true) then
  return redis.error_reply('READONLY The server is a replica.')
end
local reply = {now}
for i = 1, #ARGV do
  local value = redis.call('HGET', KEYS[2 * i - 1], ARGV[i])
  reply[3 * i - 1] = value
  reply[3 * i] = redis.call('GET', KEYS[2 * i])
  reply[3 * i + 1] = value and redis.call('PTTL', KEYS[2 * i - 1])
end
return reply`,
  true
)

/** Keys: s e. Replies with createdAt and expiresAt, or with the lowest valid epoch alone if that is above the given one. */
const createScript = script<
  [epoch: string, lifetimeMs: string, idleMs: string, hash: string, max: string, replaces: string],
  [createdAt: number, expiresAt: number] | [lowestEpoch: number]
>(
  `#!lua
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
)

/** Keys: s. Records a use at a time that the server gave; the rules of the instance may move the latest end, never forward. */
const touchScript = script<[hash: string, usedAt: string, idleMs: string, lifetimeMs: string], number>(
  `#!lua flags=allow-oom
${now}${extend}
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value then return 0 end
local epoch, created, seen, expires = string.match(value, '^(%d+) (%d+) (%d+) (%d+)$')
seen = math.max(tonumber(seen), tonumber(ARGV[2]))
expires = math.max(tonumber(expires), created + ARGV[4])
redis.call('HSET', KEYS[1], ARGV[1], epoch .. ' ' .. created .. ' ' .. string.format('%.0f %.0f', seen, expires))
extend(KEYS[1], tonumber(ARGV[3]), expires - now)
return 1`
)

/**
 * Keys: s e. Raises the epoch, never lowers it: one write, however many sessions end by it. `all` raises it above the
 * stored epoch, above that of every session and above the clock: a user's account has adopted earlier epochs only, so
 * this holds also where Redis has lost the stored epoch. Replies with the epoch that applies and the number of sessions
 * that ended.
 */
const revokeScript = script<
  [epoch: string, all: '0' | '1', idleMs: string, lifetimeMs: string, keepMs: string],
  [epoch: number, ended: number]
>(
  `#!lua flags=allow-oom
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
)

// The probes run none of the commands, so they check the permissions of the user. NOPERM is the error of a denied command;
// of a command that the server does not have (rename-command), `acl_check_cmd` throws.
const requirePermitted = (...commands: string[]) => `
for _, command in ipairs({${commands.map((command) => `'${command}'`).join(', ')}}) do
  local known, permitted = pcall(redis.acl_check_cmd, command, KEYS[1])
  if not known then return redis.error_reply("ERR unknown command '" .. command .. "'") end
  if not permitted then
    return redis.error_reply("NOPERM this user has no permissions to run the '" .. command .. "' command")
  end
end
return 1`

/** Keys: s e. Changes nothing, and is refused or delayed whenever the end of a session would be. */
const endProbeScript = script<[], number>(
  `#!lua flags=allow-oom${requirePermitted('time', 'get', 'set', 'hvals', 'hkeys', 'hdel', 'del')}`
)

/** Keys: s e. Changes nothing, and is refused or delayed whenever the creation of a session would be. */
const createProbeScript = script<[], number>(
  `#!lua${requirePermitted('time', 'get', 'hget', 'hgetall', 'hlen', 'hset', 'hdel', 'pttl', 'pexpire')}`
)

/** The scripts that a connection to Redis needs for sessions. */
export const sessionScripts = {
  readSessions: readScript,
  createSession: createScript,
  touchSession: touchScript,
  revokeSessions: revokeScript,
  probeEnds: endProbeScript,
  probeCreations: createProbeScript
}

/** The commands through which sessions are stored: reads and writes go to the same server, each over its own connection. */
export type SessionRedis = Redis<typeof sessionScripts>
