/** The connection to one Redis server: rejects commands while it is down, detects an unresponsive server, reconnects for ever. */

import { setTimeout as sleep } from 'node:timers/promises'
// In package.json this is `@redis/client`: `redis` adds commands of Redis Stack, which the product does not use.
import { createClient, type RedisScripts, SocketTimeoutError } from 'redis'
import type { Logger } from '#common/logging/logger.ts'
import { backoffMs } from '#common/time/backoff.ts'
import { clientTls, tlsHost } from '#common/tls/client-options.ts'
import type { PemFiles } from '#common/tls/pem-source.ts'

const pingEveryMs = 1000
// A server that does not respond to a PING for this long is considered dead, and the client reconnects.
const unresponsiveAfterMs = 3000
// After a stall of this process, a reply may have arrived that is not read yet.
const unreadReplyMs = 100
const connectTimeoutMs = 2000

const reconnectBackoff = { baseMs: 50, capMs: 1000 }

const failures = new WeakMap<object, Error>()
const reconnects = new WeakMap<object, (cause: Error) => void>()

/**
 * Starts to connect; callers need not await the connection. While it is down, commands are rejected at once. The client
 * has no deadline for a command that was sent: callers put one around each.
 */
export function connectRedis<S extends RedisScripts = NoScripts>(
  url: string,
  log: Logger,
  scripts?: S,
  tls?: PemFiles
) {
  const secure = redisTls(url, tls)
  const client = createClient({
    url,
    disableOfflineQueue: true,
    socket: {
      ...secure.options,
      connectTimeout: connectTimeoutMs,
      socketTimeout: unresponsiveAfterMs,
      // Without end: the client's default gives up after a socket timeout.
      reconnectStrategy(retries) {
        secure.refresh()
        return backoffMs(retries, reconnectBackoff)
      }
    },
    // No timeout for commands that wait to be written: the client creates an AbortSignal for each, which lives for five
    // seconds and costs 21 µs. The deadlines of the callers and `unresponsiveAfterMs` are shorter.
    commandOptions: { timeout: 0 },
    ...(scripts && { scripts })
  })
  // Without a listener, an error would end the process. The readiness probe logs an outage, once.
  client.on('error', (error) => {
    failures.set(client, error)
    log.debug({ event: 'redis_error', dependency: 'redis', err: error }, 'redis connection failed')
  })
  client.on('ready', () => failures.delete(client))
  function connect(): void {
    secure.refresh()
    client
      .connect()
      .catch((error) => log.debug({ event: 'redis_error', dependency: 'redis', err: error }, 'redis connection ended'))
  }

  let isReconnecting = false
  function reconnect(cause: Error): void {
    if (!client.isReady) return
    isReconnecting = true
    client.destroy()
    isReconnecting = false
    client.emit('error', cause)
    connect()
  }
  reconnects.set(client, reconnect)

  const stopPings = pingRegularly(client, reconnect)
  client.on('end', () => {
    if (!isReconnecting) stopPings()
  })
  connect()
  return client
}

/**
 * Sends a PING every second, and calls `reconnect` if the server does not respond. The client's own `socketTimeout`
 * restarts with every write (@redis/client 6.3), so under load it never detects an unresponsive server. No upstream
 * issue known. Remove when `socketTimeout` counts from the last reply.
 *
 * @returns stops the pings
 */
function pingRegularly(
  client: { isReady: boolean; ping(): Promise<unknown> },
  reconnect: (cause: Error) => void
): () => void {
  async function ping(): Promise<void> {
    const responded = client.ping().then(
      () => true,
      () => true
    )
    if (await Promise.race([responded, sleep(unresponsiveAfterMs, false, { ref: false })])) return
    if (await Promise.race([responded, sleep(unreadReplyMs, false, { ref: false })])) return
    reconnect(new SocketTimeoutError(unresponsiveAfterMs))
  }

  let isPinging = false
  const timer = setInterval(() => {
    if (isPinging || !client.isReady) return
    isPinging = true
    void ping().finally(() => (isPinging = false))
  }, pingEveryMs).unref()
  return () => clearInterval(timer)
}

/**
 * TLS for a URL with `rediss:`. The client copies its options once and keeps the arrays in them, so `refresh` replaces their
 * items with the present contents of the files.
 */
function redisTls(url: string, tls: PemFiles | undefined) {
  if (!url.startsWith('rediss:')) return { options: {}, refresh: () => {} }
  const read = clientTls(tls)
  const arrays: Record<'ca' | 'cert' | 'key', Buffer[]> = { ca: [], cert: [], key: [] }
  const kinds = (['ca', 'cert', 'key'] as const).filter((kind) => tls?.[kind])
  function refresh(): void {
    const current = read()
    for (const kind of kinds) arrays[kind].splice(0, 1, current[kind] as Buffer)
  }
  refresh()
  const { servername } = tlsHost(new URL(url).hostname)
  const files = Object.fromEntries(kinds.map((kind) => [kind, arrays[kind]]))
  return {
    options: { tls: true as const, minVersion: 'TLSv1.2' as const, ...(servername && { servername }), ...files },
    refresh
  }
}

/** The last error of a connection that is not ready, such as a rejected password or connection, if there was one. */
export function connectionFailure(client: object): Error | undefined {
  return failures.get(client)
}

/** Reconnects: if the server has become a replica, its name may now lead to the new master. */
export function reconnectRedis(client: object, cause: Error): void {
  reconnects.get(client)?.(cause)
}

/** The scripts of a connection that has none. */
export type NoScripts = Record<never, never>

/** A connection to one Redis server. */
export type RedisClient<S extends RedisScripts = NoScripts> = ReturnType<typeof connectRedis<S>>

/** The commands that the product sends, in every topology; the keys of each command are in one slot. */
export type Redis<S extends RedisScripts = NoScripts> = Pick<
  RedisClient<S>,
  'isReady' | 'hKeys' | 'hmGet' | (keyof S & keyof RedisClient<S>)
> & {
  /** The slot of a key; defined on a cluster only. */
  slotOf?(key: string): number
}
