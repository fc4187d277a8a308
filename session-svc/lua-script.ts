/** Defines a Lua script as a command of the Redis client, and Lua that several scripts share. */

import { defineScript } from 'redis'

type Parser = { pushKeys(keys: string[]): void; push(...args: string[]): void }

/**
 * A script whose arguments are its keys and then its own arguments.
 *
 * The flags in its first line tell Redis, before the script runs, which commands it uses. `no-writes` runs while Redis
 * refuses writes (MISCONF, OOM, NOREPLICAS) or pauses them (CLIENT PAUSE WRITE, CLUSTER FAILOVER). `allow-oom` runs when
 * the memory is full: the end of a session needs next to none.
 *
 * @param isReadOnly sends EVALSHA_RO: while writes are paused, Redis delays an EVALSHA of a script that it does not have
 */
export function luaScript<Args extends string[], Reply>(lua: string, isReadOnly = false) {
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

/** Lua: `now`, in milliseconds. All instances use the clock of Redis, by which keys expire too. */
export const nowLua = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
`
