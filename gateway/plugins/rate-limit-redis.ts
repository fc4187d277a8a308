/** Lets @fastify/rate-limit count through node-redis, and count here when Redis does not answer in time. */

import { createHash } from 'node:crypto'
import { Code } from '@connectrpc/connect'
import { toConnectError } from '#common/errors/driver-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import type { Redis } from '#common/redis/connection.ts'
import { withinMs } from '#common/time/timeout.ts'

const answerWithinMs = 200
// After waiting in vain Redis is left alone for a while, so that not every request waits for it.
const pauseMs = 1000
const maxLocalKeys = 10_000

type Reply = [current: number, ttlMs: number]
type Callback = (error: Error | null, reply?: Reply) => void

/** What the plugin's store calls: `defineCommand`, then the command with a key, a window, a maximum and more. */
export function commandAdapter(redis: Redis, log: Logger) {
  const countHere = localCounter()
  let pausedUntil = 0
  let toldAt = Number.NEGATIVE_INFINITY

  async function countInRedis(sha: string, lua: string, key: string, args: string[]): Promise<Reply> {
    const options = { keys: [key], arguments: args }
    try {
      return (await redis.evalSha(sha, options)) as Reply
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return (await redis.eval(lua, options)) as Reply
    }
  }

  async function count(sha: string, lua: string, pluginKey: string, args: string[]): Promise<Reply> {
    // The plugin puts the method and path of a route into the key, which a limit over many routes does not have.
    const key = pluginKey.replace('undefinedundefined-', '')
    if (redis.isReady && performance.now() >= pausedUntil) {
      try {
        return await withinMs(answerWithinMs, countInRedis(sha, lua, key, args))
      } catch (error) {
        const now = performance.now()
        // What refuses at once can be asked again at once: of a cluster it may be one server of many.
        if (toConnectError(error).code === Code.DeadlineExceeded) pausedUntil = now + pauseMs
        if (now - toldAt >= pauseMs) {
          toldAt = now
          log.warn({ event: 'rate_limit_local', err: error }, 'rate limits are counted locally, redis did not answer')
        }
      }
    }
    return countHere(key, Number(args[0]))
  }

  const adapter = {
    defineCommand(name: string, { lua }: { lua: string }) {
      const sha = createHash('sha1').update(lua).digest('hex')
      Object.assign(adapter, {
        [name]: (key: string, ...rest: unknown[]) => {
          const done = rest.pop() as Callback
          count(sha, lua, key, rest.map(String)).then((reply) => done(null, reply), done)
        }
      })
    }
  }
  return adapter
}

/** Counts in fixed windows in memory; when it is full, the oldest window is forgotten. */
function localCounter(): (key: string, windowMs: number) => Reply {
  const windows = new Map<string, { count: number; endsAt: number }>()
  return (key, windowMs) => {
    const now = performance.now()
    let window = windows.get(key)
    if (window === undefined || window.endsAt <= now) {
      windows.delete(key)
      window = { count: 0, endsAt: now + windowMs }
      windows.set(key, window)
      if (windows.size > maxLocalKeys) windows.delete(windows.keys().next().value as string)
    }
    window.count += 1
    return [window.count, window.endsAt - now]
  }
}
