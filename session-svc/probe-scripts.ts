/** The Lua scripts by which the readiness probes learn whether Redis accepts writes. They change nothing. */

import { luaScript } from './lua-script.ts'

// The probes run none of the commands, so they check the permissions of the user. NOPERM is the error of a denied command;
// for a command that the server does not have (rename-command), `acl_check_cmd` raises an error.
const requirePermitted = (commands: string) => `
for command in string.gmatch('${commands}', '%S+') do
  local known, permitted = pcall(redis.acl_check_cmd, command, KEYS[1])
  if not known then return redis.error_reply("ERR unknown command '" .. command .. "'") end
  if not permitted then
    return redis.error_reply("NOPERM this user has no permissions to run the '" .. command .. "' command")
  end
end
return 1`

/** Keys: s e agents. Redis refuses or delays it whenever it would refuse or delay the end of a session. */
export const endProbeScript = luaScript<[], number>(
  `#!lua flags=allow-oom${requirePermitted('time get set hgetall hkeys hdel del')}`
)

/** Keys: s e agents. Redis refuses or delays it whenever it would refuse or delay the creation of a session. */
export const creationProbeScript = luaScript<[], number>(
  `#!lua${requirePermitted('time get hget hgetall hkeys hlen hexists hset hdel pttl pexpire')}`
)
