/** The users of Redis: each service may run its own commands on its own keys. compose.yaml repeats the rules. */

import { createHash } from 'node:crypto'

// Without CLIENT KILL, CLIENT PAUSE and the like, which reach the connections of other users.
const connection = '+@connection -@admin -@dangerous'

/** The permissions of each user in the syntax of ACL SETUSER, for one server; docs/operate/deploy.md has those of other topologies. */
export const redisPermissions = {
  gateway: `~rl:* ${connection} +eval +evalsha +hdel +hget +hgetall +hincrby +hset +incr +pexpire +pttl +time`,
  'session-svc':
    `~s:* ~e:* ~w:* ${connection} +eval +evalsha +eval_ro +evalsha_ro +get +set +del +hget +hgetall +hkeys +hlen ` +
    '+hexists +hmget +hset +hdel +pttl +pexpire +time +wait +info +config|get'
} as const

/** The user of operators. */
export const redisAdmin = 'admin'

export type RedisPasswords = Record<typeof redisAdmin | keyof typeof redisPermissions, string>

// Off: no connection is this user. Redis loads its append-only file with the permissions of this user, and without them skips
// the transactions in it, so that the sessions would be lost (Redis 7.0.15; no upstream issue known).
const loader = 'user default off ~* &* +@all\n'

/** The ACL file with the users. It contains hashes; the default user has no access. */
export function userSettings(passwords: RedisPasswords): string {
  const permissions = { [redisAdmin]: '~* &* +@all', ...redisPermissions }
  const users = Object.entries(permissions).map(([name, rules]) => {
    const hash = createHash('sha256')
      .update(passwords[name as keyof RedisPasswords])
      .digest('hex')
    return `user ${name} on #${hash} ${rules}\n`
  })
  return [loader, ...users].join('')
}
