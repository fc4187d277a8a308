/** The Lua scripts that read and change the sessions of a user. Each is atomic; its keys are in one slot of a cluster. */

import type { Redis } from '#common/redis/connection.ts'
import { maxCreatedEpoch, maxEpoch, maxRevokedEpoch } from '#common/session/session-epoch.ts'
import { luaScript, nowLua } from './lua-script.ts'
import { creationProbeScript, endProbeScript } from './probe-scripts.ts'
import { storedSessionLua } from './stored-session.ts'
import { userAgentsLua } from './user-agents.ts'

/** An unused session stays in Redis for this long at least, so that an instance with a longer `session.idleTimeout` finds it. */
export const keepMs = 86_400_000

// The scripts round the time, and so does Redis.
const roundingMs = 1000

// Whether a session has ended, by the rules of the calling instance or by a revocation. `lowest`: the lowest valid epoch.
const hasEndedLua = `
local function hasEnded(session, idle, lifetime, lowest)
  return session.epoch < lowest or now >= session.created + lifetime or now >= session.seen + idle
end
`

// Extends the life of the sessions' key, so that it outlasts a session by the rules of the calling instance. The key expires
// with its last session, or earlier if none is used for the idle timeout, at least `keepMs`. The key of the user agents
// expires with it.
const extendKeysLua = `
local function extendKeys(sessions, agents, idle, left)
  local ttl = math.min(math.max(idle, ${keepMs}), left) + ${roundingMs}
  if redis.call('PTTL', sessions) < ttl then redis.call('PEXPIRE', sessions, string.format('%.0f', ttl)) end
  ttl = redis.call('PTTL', sessions)
  if redis.call('PTTL', agents) < ttl then redis.call('PEXPIRE', agents, string.format('%.0f', ttl)) end
end
`

/**
 * Keys: s e for each token; arguments: the tokens' digests. Replies with the time and then, for each token, the stored
 * value, the lowest valid epoch, and the time to live of the key s. A batch is one command; on a cluster, the batch has
 * the tokens of one user. A server that has become a replica returns an error: it may have sessions that have ended at
 * its master.
 */
const readScript = luaScript<string[], [now: number, ...(string | number | null)[]]>(
  `#!lua flags=no-writes
${nowLua}
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

/**
 * Keys: s e agents. Replies with createdAt, expiresAt and a list of the digests of the live sessions that ended (the replaced
 * one, and the oldest above the limit), or with the lowest valid epoch alone if that is above the given one. A list of its
 * own, because `unpack` fails with 8,000 values.
 */
const createScript = luaScript<
  [epoch: string, lifetimeMs: string, idleMs: string, hash: string, max: string, replaces: string, agent: string],
  [createdAt: number, expiresAt: number, ended: string[]] | [lowestEpoch: number]
>(
  `#!lua
${nowLua}${storedSessionLua}${userAgentsLua}${hasEndedLua}${extendKeysLua}
local lowest = tonumber(redis.call('GET', KEYS[2]) or '0')
local epoch = tonumber(ARGV[1])
if epoch < lowest then return {lowest} end
local lifetime, idle, max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
local ended = {}
if ARGV[6] ~= '' and removeSession(KEYS[1], KEYS[3], ARGV[6]) == 1 then ended[1] = ARGV[6] end
local count = redis.call('HLEN', KEYS[1])
-- Sweep ended sessions each time the number of sessions has doubled, and before a live session must end. The rules of
-- another instance may still allow a session that these rules do not: sweep only sessions that no instance is likely to allow.
if count >= max or (count >= 8 and bit.band(count, count - 1) == 0) then
  local kept, all = {}, redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local session = decode(all[i + 1])
    local longest = math.max(session.expires - session.created, lifetime)
    if hasEnded(session, math.max(idle, ${keepMs}), longest, lowest) then removeSession(KEYS[1], KEYS[3], all[i])
    else kept[#kept + 1] = {hasEnded(session, idle, lifetime, lowest) and 0 or session.created, all[i]} end
  end
  table.sort(kept, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  for i = 1, #kept - max + 1 do
    removeSession(KEYS[1], KEYS[3], kept[i][2])
    if kept[i][1] > 0 then ended[#ended + 1] = kept[i][2] end
  end
end
removeOrphans(KEYS[1], KEYS[3])
local session = {
  epoch = math.min(epoch, math.max(${maxCreatedEpoch}, lowest)),
  created = now, seen = now, expires = now + lifetime,
  suffix = ''
}
redis.call('HSET', KEYS[1], ARGV[4], encode(session))
if ARGV[7] ~= '' then redis.call('HSET', KEYS[3], ARGV[4], ARGV[7]) end
extendKeys(KEYS[1], KEYS[3], idle, lifetime)
return {now, session.expires, ended}`
)

/** Keys: s agents. Records a use at a time that the server gave, and the latest end by the rules of the instance; neither moves back. */
const touchScript = luaScript<[hash: string, usedAt: string, idleMs: string, lifetimeMs: string], number>(
  `#!lua flags=allow-oom
${nowLua}${storedSessionLua}${extendKeysLua}
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value then return 0 end
local session = decode(value)
session.seen = math.max(session.seen, tonumber(ARGV[2]))
session.expires = math.max(session.expires, session.created + tonumber(ARGV[4]))
redis.call('HSET', KEYS[1], ARGV[1], encode(session))
extendKeys(KEYS[1], KEYS[2], tonumber(ARGV[3]), session.expires - now)
return 1`
)

/** Keys: s agents. Ends a session; a digest that the user does not have ends none. Replies with the number that ended. */
const deleteScript = luaScript<[hash: string], number>(
  `#!lua flags=allow-oom
${userAgentsLua}
return removeSession(KEYS[1], KEYS[2], ARGV[1])`
)

/**
 * Keys: s e agents. Raises the epoch, never lowers it: one write, however many sessions end by it. `all` raises it above
 * the stored epoch and to the clock: a user's account has adopted earlier epochs only, so this is true also where Redis has
 * lost the stored epoch. It removes a session of a later epoch, which a stolen credential can create: an epoch above that
 * could leave none for later revocations. Replies with the epoch that applies and the number of sessions that ended.
 *
 * The kept session gets the new epoch. The idle timeout does not matter for it: an instance may have a use of the session
 * that is not written yet, and a session that is idle does not become valid by a higher epoch.
 */
const revokeScript = luaScript<
  [epoch: string, all: '0' | '1', idleMs: string, lifetimeMs: string, keepMs: string, kept: string],
  [epoch: number, ended: number]
>(
  `#!lua flags=allow-oom
${nowLua}${storedSessionLua}${hasEndedLua}
local lowest = tonumber(redis.call('GET', KEYS[2]) or '0')
local epoch, idle, lifetime = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
if ARGV[2] ~= '1' and epoch <= lowest then return {lowest, 0} end
local stored, sessions = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #stored, 2 do
  local session = decode(stored[i + 1])
  session.hash = stored[i]
  sessions[#sessions + 1] = session
end
if ARGV[2] == '1' then epoch = math.max(epoch, lowest + 1, now) end
local count, revoked = 0, {}
for _, session in ipairs(sessions) do
  if session.epoch < epoch or ARGV[2] == '1' then
    if session.hash == ARGV[6] and session.epoch >= lowest and now < session.created + lifetime then
      session.epoch = epoch
      redis.call('HSET', KEYS[1], session.hash, encode(session))
    else
      revoked[#revoked + 1] = session.hash
      if session.epoch >= epoch then redis.call('HDEL', KEYS[1], session.hash) end
      if not hasEnded(session, idle, lifetime, lowest) then count = count + 1 end
    end
  end
end
if #revoked == #sessions then redis.call('DEL', KEYS[3])
else for _, hash in ipairs(revoked) do redis.call('HDEL', KEYS[3], hash) end end
-- Only an earlier version accepted epochs as high as this. No higher epoch is left to revoke by, so remove the sessions.
if epoch > ${maxEpoch} then
  redis.call('DEL', KEYS[1])
  epoch = ${maxRevokedEpoch}
end
redis.call('SET', KEYS[2], string.format('%.0f', epoch), 'PX', ARGV[5])
return {epoch, count}`
)

/** The scripts that a connection to Redis needs for sessions. */
export const sessionScripts = {
  readSessions: readScript,
  createSession: createScript,
  touchSession: touchScript,
  deleteSession: deleteScript,
  revokeSessions: revokeScript,
  probeEnds: endProbeScript,
  probeCreations: creationProbeScript
}

/** The commands through which sessions are stored: reads and writes go to the same server, each over its own connection. */
export type SessionRedis = Redis<typeof sessionScripts>
