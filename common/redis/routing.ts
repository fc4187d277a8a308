/** The commands over the servers of a store, each sent to the server that has its key. */

import type { RedisScripts } from 'redis'
import { unavailable } from '#common/errors/connect-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { connectRedis, type Redis, type RedisClient } from './connection.ts'

/** The section `redis` of the configuration, as far as connections need it. */
export interface RedisConfig {
  topology: 'single' | 'cluster' | 'sentinel'
  url: string
  nodes: string[]
  sentinelName: string
  sentinelPassword: string
}

/** What a store is made of. */
export interface RedisStoreOptions<S extends RedisScripts> {
  log: Logger
  scripts?: S
  /** Told of each connection to a server that takes writes, also when it is made anew. */
  connected?: (client: RedisClient<S>) => void
  /** Told when something may have been lost. */
  failed?: () => void
}

/** The servers that take writes, and the commands over them. */
export interface RedisStore<S extends RedisScripts> {
  redis: Redis<S>
  route: Route<S>
  /** The connections to the servers that take writes, ready or not; more than one on a cluster only. */
  servers(): RedisClient<S>[]
  /** A key that a server has the slot of. */
  keyOn(client: RedisClient<S>): string
  /** Why there are no servers, as far as that is known. */
  failure(): Error | undefined
  close(): void
}

/**
 * Asks the server that has a key; `ask` sends its commands before it waits for anything.
 *
 * @throws ConnectError `unavailable` while that server is away
 */
export type Route<S extends RedisScripts> = <T>(key: string, ask: (client: RedisClient<S>) => Promise<T>) => Promise<T>

/** A connection whose coming and going is told. */
export function connectObserved<S extends RedisScripts>(url: string, options: RedisStoreOptions<S>): RedisClient<S> {
  const client = connectRedis(url, options.log, options.scripts)
  client.on('ready', () => options.connected?.(client))
  client.on('error', () => options.failed?.())
  return client
}

/** The client, if it is connected. @throws ConnectError `unavailable` */
export function requireReady<S extends RedisScripts>(client: RedisClient<S> | undefined, cause?: unknown) {
  if (client?.isReady) return client
  throw unavailable('A part of the service is not available at the moment.', 1, cause)
}

/** A server's address as `nodes` has it. */
export function addressOf(host: string, port: unknown): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** The configured URL with the address of another server: scheme, user and password are the same for all. */
export function addressUrl({ url }: Pick<RedisConfig, 'url'>, address: string): string {
  const other = new URL(url || 'redis://any')
  other.host = address
  return other.href
}

/** Commands as a single connection has them. */
export function routedCommands<S extends RedisScripts>(
  { route, isReady }: { route: Route<S>; isReady: () => boolean },
  scripts: S | undefined
): Redis<S> {
  type Call = (...args: unknown[]) => Promise<unknown>
  const call = (client: RedisClient<S>, name: string, args: unknown[]) =>
    (client as unknown as Record<string, Call>)[name]?.(...args) as Promise<unknown>
  const keyed = (name: string, keyOf: (args: unknown[]) => unknown) => {
    return (...args: unknown[]) => route(keyOf(args) as string, (client) => call(client, name, args))
  }
  const firstKey = ([keys]: unknown[]) => [keys].flat()[0]
  const optionsKey = ([, options]: unknown[]) => (options as { keys: string[] }).keys[0]
  const commands = {
    get isReady() {
      return isReady()
    },
    ...Object.fromEntries(
      ['hDel', 'hKeys', ...Object.keys(scripts ?? {})].map((name) => [name, keyed(name, firstKey)])
    ),
    eval: keyed('eval', optionsKey),
    evalSha: keyed('evalSha', optionsKey)
  }
  return commands as unknown as Redis<S>
}
