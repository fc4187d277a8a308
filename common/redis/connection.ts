/** The connection to a Redis server: refuses at once when it is away, notices when it hangs, and always comes back. */

import { setTimeout as sleep } from 'node:timers/promises'
// In package.json this is `@redis/client`: `redis` adds commands of Redis Stack, which nothing here asks for.
import { createClient, type RedisScripts, SocketTimeoutError } from 'redis'
import type { Logger } from '#common/logging/logger.ts'

const pingEveryMs = 1000
// A server that leaves even pings unanswered for this long is gone; the connection is made anew.
const silentMs = 3000
// After a stall of our own an answer may have come that nobody has read yet.
const secondLookMs = 100
const connectTimeoutMs = 2000

/** From 50 ms to 1 s, with jitter, for ever: the client's own default gives up after a socket timeout. */
function reconnectDelayMs(retries: number): number {
  return Math.min(50 * 2 ** Math.min(retries, 5), 1000) * (0.5 + Math.random() / 2)
}

/**
 * A client that is connecting; it needs no awaiting. Commands while it is not connected are
 * refused. A command that was sent is not bounded by the client: put a deadline around each.
 */
export function connectRedis<S extends RedisScripts = NoScripts>(url: string, log: Logger, scripts?: S) {
  const client = createClient({
    url,
    disableOfflineQueue: true,
    socket: { connectTimeout: connectTimeoutMs, socketTimeout: silentMs, reconnectStrategy: reconnectDelayMs },
    // No limit of the client's own for commands that wait to be written: it creates an AbortSignal for each command, which
    // lives for five seconds and takes 21 µs. The caller's deadline and `silentMs` are shorter.
    commandOptions: { timeout: 0 },
    ...(scripts && { scripts })
  })
  // Without a listener an error would end the process. What is down is told by the readiness probe, once.
  client.on('error', (error) => {
    failures.set(client, error)
    log.debug({ event: 'redis_error', dependency: 'redis', err: error }, 'redis connection failed')
  })
  client.on('ready', () => failures.delete(client))
  function connect(): void {
    client
      .connect()
      .catch((error) => log.debug({ event: 'redis_error', dependency: 'redis', err: error }, 'redis connection ended'))
  }

  let givingUp = false
  function reconnect(cause: Error): void {
    if (!client.isReady) return
    givingUp = true
    client.destroy()
    givingUp = false
    client.emit('error', cause)
    connect()
  }
  reconnects.set(client, reconnect)

  /** The client's own time limit starts anew with each command that it writes, so under load it never comes. */
  async function requireAnswer(): Promise<void> {
    const answered = client.ping().then(
      () => true,
      () => true
    )
    if (await Promise.race([answered, sleep(silentMs, false, { ref: false })])) return
    if (await Promise.race([answered, sleep(secondLookMs, false, { ref: false })])) return
    reconnect(new SocketTimeoutError(silentMs))
  }

  let asking = false
  const pings = setInterval(() => {
    if (asking || !client.isReady) return
    asking = true
    void requireAnswer().finally(() => (asking = false))
  }, pingEveryMs).unref()
  client.on('end', () => {
    if (!givingUp) clearInterval(pings)
  })
  connect()
  return client
}

const failures = new WeakMap<object, Error>()
const reconnects = new WeakMap<object, (cause: Error) => void>()

/** Why a connection is not ready, as far as that is known: a refused password, a refused connection. */
export function connectionFailure(client: object): Error | undefined {
  return failures.get(client)
}

/** Connects anew: the name of a server that became a replica may lead to the new master. */
export function reconnectRedis(client: object, cause: Error): void {
  reconnects.get(client)?.(cause)
}

/** What a connection without scripts of its own has. */
export type NoScripts = Record<never, never>

/** A connection to one Redis server. */
export type RedisClient<S extends RedisScripts = NoScripts> = ReturnType<typeof connectRedis<S>>

/** The commands that are asked of Redis, whatever its topology; the keys of each are in one slot. */
export type Redis<S extends RedisScripts = NoScripts> = Pick<
  RedisClient<S>,
  'isReady' | 'hDel' | 'hKeys' | 'eval' | 'evalSha' | (keyof S & keyof RedisClient<S>)
> & {
  /** The slot of a key; there are slots on a cluster only. */
  slotOf?(key: string): number
}
