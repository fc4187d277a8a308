/**
 * The master that Redis Sentinels name. It is used only while most of the Sentinels have named it within the last
 * seconds: one that a network split has left behind would show sessions that have ended elsewhere. (The driver's own
 * Sentinel client lets commands wait while there is no master, and sends them again when it cannot know whether they were done.)
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisScripts } from 'redis'
import { withinMs } from '#common/time/timeout.ts'
import { connectionFailure, connectRedis, type RedisClient } from './connection.ts'
import {
  addressOf,
  addressUrl,
  connectObserved,
  type RedisConfig,
  type RedisStore,
  type RedisStoreOptions,
  type Route,
  requireReady,
  routedCommands
} from './routing.ts'

const lookEveryMs = 500
const answerWithinMs = 1000
// Shorter than a Sentinel takes to give a master up (`down-after-milliseconds`), so that two are never used at once.
const namedWithinMs = 3000
// Longer than any call waits: whatever was sent to a former master has been answered by then.
const retireAfterMs = 60_000

interface Master<S extends RedisScripts> {
  address: string
  client: RedisClient<S>
  /** Whether the server itself says that it is a master, asked anew on each connection. */
  confirmed: boolean
}

/** A store over the master that the configured Sentinels name. */
export function connectSentinel<S extends RedisScripts>(
  config: RedisConfig,
  options: RedisStoreOptions<S>
): RedisStore<S> {
  const { sentinelName, sentinelPassword } = config
  const sentinels = config.nodes.map((address) => {
    const url = new URL(addressUrl(config, address))
    Object.assign(url, { username: '', password: sentinelPassword, pathname: '' })
    return connectRedis(url.href, options.log)
  })
  const retired = new Set<RedisClient<S>>()
  const closing = new AbortController()
  let master: Master<S> | undefined
  let namedAt = Number.NEGATIVE_INFINITY

  /** The address that more than half of all Sentinels name. */
  async function namedAddress(): Promise<string | undefined> {
    const replies = await Promise.all(
      sentinels.map((sentinel) =>
        withinMs(answerWithinMs, sentinel.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', sentinelName])).catch(
          () => undefined
        )
      )
    )
    const votes = Map.groupBy(
      replies.filter((reply) => Array.isArray(reply)).map(([host, port]) => addressOf(String(host), port)),
      (address) => address
    )
    return [...votes].find(([, named]) => named.length > sentinels.length / 2)?.[0]
  }

  function follow(address: string): void {
    if (master !== undefined) retire(master.client)
    const client = connectObserved(addressUrl(config, address), {
      ...options,
      connected: () => void confirm(next),
      failed() {
        next.confirmed = false
        options.failed?.()
      }
    })
    const next = { address, client, confirmed: false }
    master = next
  }

  async function confirm(candidate: Master<S>): Promise<void> {
    const role = await withinMs(answerWithinMs, candidate.client.sendCommand(['ROLE'])).catch(() => undefined)
    const confirmed = Array.isArray(role) && String(role[0]) === 'master'
    if (confirmed && !candidate.confirmed) options.connected?.(candidate.client)
    candidate.confirmed = confirmed
  }

  function retire(client: RedisClient<S>): void {
    retired.add(client)
    setTimeout(() => retired.delete(client) && client.destroy(), retireAfterMs).unref()
  }

  async function keepLooking(): Promise<void> {
    while (!closing.signal.aborted) {
      const askedAt = performance.now()
      const address = await namedAddress()
      if (closing.signal.aborted) return
      if (address !== undefined) {
        namedAt = askedAt
        if (address !== master?.address) follow(address)
        else await confirm(master)
      }
      await sleep(lookEveryMs, undefined, { signal: closing.signal }).catch(() => {})
    }
  }

  /** The master, if it may be used now. */
  function usable(): RedisClient<S> | undefined {
    if (!master?.confirmed || performance.now() - namedAt > namedWithinMs) return undefined
    return master.client
  }

  const route: Route<S> = async (_key, ask) => ask(requireReady(usable()))

  void keepLooking()
  return {
    redis: routedCommands({ route, isReady: () => usable()?.isReady === true }, options.scripts),
    route,
    servers() {
      const client = usable()
      return client ? [client] : []
    },
    keyOn: () => '{0}',
    failure() {
      const connections = [...(master ? [master.client] : []), ...sentinels]
      return connections.map(connectionFailure).find((error) => error !== undefined)
    },
    close() {
      closing.abort()
      for (const client of [...sentinels, ...retired, ...(master ? [master.client] : [])]) client.destroy()
    }
  }
}
