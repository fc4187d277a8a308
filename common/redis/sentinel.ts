/**
 * The master that Redis Sentinels name. It is used only while more than half of the Sentinels have named it within the
 * last 3 s: a former master behind a network partition still has sessions that have ended at the new one.
 *
 * node-redis's own Sentinel client is not used (@redis/client 6.3): its commands wait some 16 s while there is no master
 * (redis/node-redis#3385), and it runs a command again when its connection is "not ready" (sentinel/index.js), that is, when the
 * outcome of the first attempt is unknown. Remove when it does neither.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisScripts } from 'redis'
import { withinMs } from '#common/time/timeout.ts'
import { addressOf, addressUrl } from './addresses.ts'
import { connectionFailure, connectRedis, type RedisClient } from './connection.ts'
import {
  connectObserved,
  type RedisConfig,
  type RedisStore,
  type RedisStoreOptions,
  type Route,
  requireReady,
  routedCommands
} from './routing.ts'

const pollEveryMs = 500
const replyTimeoutMs = 1000
// Below the time after which Sentinels replace a master (`down-after-milliseconds`), so that two are never in use at once.
const majorityValidMs = 3000
// Longer than the deadline of any call: all commands that were sent to a former master have ended by then.
const closeFormerAfterMs = 60_000

interface Master<S extends RedisScripts> {
  address: string
  client: RedisClient<S>
  /** Whether the server itself reports the role of a master, checked on each connection. */
  isConfirmed: boolean
  /** The error that ended its last connection, until the server reports its role over the next one. */
  failure?: Error | undefined
}

/** A store on the master that the configured Sentinels name. */
export function connectSentinel<S extends RedisScripts>(
  config: RedisConfig,
  options: RedisStoreOptions<S>
): RedisStore<S> {
  const sentinels = connectSentinels(config, options)
  const former = new Set<RedisClient<S>>()
  const closing = new AbortController()
  let master: Master<S> | undefined
  let namedAt = Number.NEGATIVE_INFINITY

  function connectMaster(address: string): void {
    if (master !== undefined) retire(master.client)
    const client = connectObserved(addressUrl(config, address), {
      ...options,
      onReady: () => void confirmRole(next),
      onError(error) {
        Object.assign(next, { isConfirmed: false, failure: error })
        options.onError?.(error)
      }
    })
    const next: Master<S> = { address, client, isConfirmed: false }
    master = next
  }

  async function confirmRole(candidate: Master<S>): Promise<void> {
    const role = await withinMs(replyTimeoutMs, candidate.client.sendCommand(['ROLE'])).catch(() => undefined)
    // Without a reply, the last role counts until the connection ends: CLIENT PAUSE delays ROLE behind a delayed write.
    if (!Array.isArray(role)) return
    const isMaster = String(role[0]) === 'master'
    if (isMaster && !candidate.isConfirmed) options.onReady?.(candidate.client)
    Object.assign(candidate, { isConfirmed: isMaster, failure: undefined })
  }

  function retire(client: RedisClient<S>): void {
    former.add(client)
    setTimeout(() => former.delete(client) && client.destroy(), closeFormerAfterMs).unref()
  }

  async function pollSentinels(): Promise<void> {
    while (!closing.signal.aborted) {
      const polledAt = performance.now()
      const address = await majorityAddress(sentinels, config.sentinelName)
      if (closing.signal.aborted) return
      if (address !== undefined) {
        namedAt = polledAt
        if (address !== master?.address) connectMaster(address)
        else await confirmRole(master)
      }
      await sleep(pollEveryMs, undefined, { signal: closing.signal }).catch(() => {})
    }
  }

  function usableMaster(): RedisClient<S> | undefined {
    if (!master?.isConfirmed || performance.now() - namedAt > majorityValidMs) return undefined
    return master.client
  }

  const route: Route<S> = async (_key, send) => send(requireReady(usableMaster()))

  void pollSentinels()
  return {
    redis: routedCommands({ route, isReady: () => usableMaster()?.isReady === true }, options.scripts),
    route,
    servers() {
      const client = usableMaster()
      return client ? [client] : []
    },
    keyOn: () => '{0}',
    failure() {
      if (master?.failure) return master.failure
      const connections = [...(master ? [master.client] : []), ...sentinels]
      return connections.map(connectionFailure).find((error) => error !== undefined)
    },
    close() {
      closing.abort()
      for (const client of [...sentinels, ...former, ...(master ? [master.client] : [])]) client.destroy()
    }
  }
}

function connectSentinels(
  config: RedisConfig,
  { log, tls }: Pick<RedisStoreOptions<RedisScripts>, 'log' | 'tls'>
): RedisClient[] {
  return config.nodes.map((address) => {
    const url = new URL(addressUrl(config, address))
    Object.assign(url, { username: '', password: config.sentinelPassword, pathname: '' })
    return connectRedis(url.href, log, undefined, tls)
  })
}

/** The address that more than half of all Sentinels name, if there is one. */
async function majorityAddress(sentinels: RedisClient[], name: string): Promise<string | undefined> {
  const replies = await Promise.all(
    sentinels.map((sentinel) =>
      withinMs(replyTimeoutMs, sentinel.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name])).catch(
        () => undefined
      )
    )
  )
  const addresses = replies.flatMap((reply) => (Array.isArray(reply) ? [addressOf(String(reply[0]), reply[1])] : []))
  return addresses.find((address) => addresses.filter((each) => each === address).length > sentinels.length / 2)
}
