/** A store of one or more Redis servers: each command is sent to the server that has its key. */

import type { RedisScripts } from 'redis'
import { dependencyDown } from '#common/errors/connect-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import type { PemFiles } from '#common/tls/pem-source.ts'
import { connectRedis, type Redis, type RedisClient } from './connection.ts'

/** The section `redis` of the configuration, as far as connections need it. */
export interface RedisConfig {
  topology: 'single' | 'cluster' | 'sentinel'
  url: string
  nodes: string[]
  sentinelName: string
  sentinelPassword: string
  /** For a URL with `rediss:`. */
  tls?: PemFiles
}

export interface RedisStoreOptions<S extends RedisScripts> {
  log: Logger
  scripts?: S
  tls?: PemFiles | undefined
  /** Called for each connection and each reconnection to a server that accepts writes. */
  onReady?: (client: RedisClient<S>) => void
  /** Called when a connection fails. */
  onError?: (error: Error) => void
}

/** The servers that accept writes, and the commands that are routed to them. */
export interface RedisStore<S extends RedisScripts> {
  redis: Redis<S>
  route: Route<S>
  /** The connections to the servers that accept writes, ready or not; more than one on a cluster only. */
  servers(): RedisClient<S>[]
  /** A key in a slot of this server. */
  keyOn(client: RedisClient<S>): string
  /** The reason why there are no servers, if it is known. */
  failure(): Error | undefined
  close(): void
}

/**
 * Sends commands to the server that has a key. `send` writes its commands before it awaits anything.
 *
 * @throws ConnectError `unavailable` while that server is down
 */
export type Route<S extends RedisScripts> = <T>(key: string, send: (client: RedisClient<S>) => Promise<T>) => Promise<T>

/** A connection that notifies of its state. */
export function connectObserved<S extends RedisScripts>(url: string, options: RedisStoreOptions<S>): RedisClient<S> {
  const client = connectRedis(url, options.log, options.scripts, options.tls)
  client.on('ready', () => options.onReady?.(client))
  client.on('error', (error) => options.onError?.(error))
  return client
}

/** Returns the client if it is connected. @throws ConnectError `unavailable` */
export function requireReady<S extends RedisScripts>(client: RedisClient<S> | undefined, cause?: unknown) {
  if (client?.isReady) return client
  throw dependencyDown(cause)
}

/** The commands of a single connection, each routed by its first key. */
export function routedCommands<S extends RedisScripts>(
  { route, isReady }: { route: Route<S>; isReady: () => boolean },
  scripts: S | undefined
): Redis<S> {
  type Command = (...args: unknown[]) => Promise<unknown>
  const send = (client: RedisClient<S>, name: string, args: unknown[]) =>
    (client as unknown as Record<string, Command>)[name]?.(...args) as Promise<unknown>
  const firstKey = ([keys]: unknown[]) => [keys].flat()[0]
  const routed = (name: string) => {
    return (...args: unknown[]) => route(firstKey(args) as string, (client) => send(client, name, args))
  }
  const commands = {
    get isReady() {
      return isReady()
    },
    ...Object.fromEntries(['hKeys', 'hmGet', ...Object.keys(scripts ?? {})].map((name) => [name, routed(name)]))
  }
  return commands as unknown as Redis<S>
}
