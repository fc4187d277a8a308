/** Writes that wait for replicas, so that no failover to one of these replicas restores a session that has ended. */

import { Code, ConnectError } from '@connectrpc/connect'
import { unavailable } from '#common/errors/connect-errors.ts'
import type { RedisStore } from '#common/redis/routing.ts'
import type { sessionScripts } from './scripts.ts'

const waitMs = 1000
// While replicas are down, each write waits for `waitMs`, and so do the commands behind it.
const maxPending = 100

/**
 * The commands that create or end sessions. Each rejects with `deadline_exceeded` (outcome unknown) unless `replicas`
 * replicas have the write within a second.
 *
 * Each command is followed by a SET, because WAIT does not wait for a write that changed nothing, such as a repeated
 * logout, although the replicas may still lack the first one.
 *
 * @param store connections of its own, since WAIT blocks all later commands of its connection
 */
export function replicatedWrites(store: RedisStore<typeof sessionScripts>, replicas: number) {
  let pending = 0

  function replicated(name: Write) {
    return async (keys: string[], ...args: string[]) => {
      if (pending >= maxPending) throw unavailable('Too many writes are waiting for replicas.')
      pending += 1
      try {
        const [key] = keys as [string]
        const [reply, , copies] = await store.route(key, (client) => {
          const pipeline = client.multi() as unknown as Pipeline
          return pipeline[name](keys, ...args)
            .set(`w${key.slice(1)}`, '1', { PX: waitMs })
            .wait(replicas, waitMs)
            .execAsPipeline()
        })
        if (Number(copies) >= replicas) return reply
        throw new ConnectError('It is unknown whether this write survives a failover.', Code.DeadlineExceeded)
      } finally {
        pending -= 1
      }
    }
  }

  return {
    createSession: replicated('createSession'),
    deleteSession: replicated('deleteSession'),
    revokeSessions: replicated('revokeSessions')
  }
}

type Write = 'createSession' | 'revokeSessions' | 'deleteSession'

type Pipeline = Record<Write, (keys: string[], ...args: string[]) => Pipeline> & {
  set(key: string, value: string, options: { PX: number }): Pipeline
  wait(replicas: number, timeoutMs: number): Pipeline
  execAsPipeline(): Promise<unknown[]>
}
