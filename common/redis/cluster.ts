/**
 * A Redis Cluster: a connection to each master, and the map of slots to masters.
 *
 * node-redis's own cluster client is not used (@redis/client 6.3; no upstream issue known): its start waits for every
 * master, and its commands wait for a master that is down instead of failing, so that a caller would get a timeout
 * (outcome unknown) instead of "certainly not applied". Remove when it rejects such commands at once.
 */

import type { RedisScripts } from 'redis'
import { withinMs } from '#common/time/timeout.ts'
import { addressOf, addressUrl, hostOf } from './addresses.ts'
import { connectionFailure, connectRedis, type RedisClient } from './connection.ts'
import { slotCount, slotOf } from './hash-slot.ts'
import {
  connectObserved,
  type RedisConfig,
  type RedisStore,
  type RedisStoreOptions,
  type Route,
  requireReady,
  routedCommands
} from './routing.ts'

const refreshEveryMs = 1000
const replyTimeoutMs = 1000

/** A store on the cluster of the configured nodes. */
export function connectCluster<S extends RedisScripts>(
  config: RedisConfig,
  options: RedisStoreOptions<S>
): RedisStore<S> {
  const seeds = config.nodes.map((address) =>
    connectRedis(addressUrl(config, address), options.log, undefined, options.tls)
  )
  const masters = createMasterConnections(config, { ...options, onError: onMasterError })
  let owners: (RedisClient<S> | undefined)[] = []
  let servers: RedisClient<S>[] = []
  let refreshing: Promise<void> | undefined
  let isClosed = false

  function onMasterError(error: Error): void {
    options.onError?.(error)
    void refresh()
  }

  /** Reads the slots from any node that responds, starting at a random one: a node that is cut off has an old map. */
  async function readSlots(): Promise<void> {
    const nodes = [...servers, ...seeds].filter(({ isReady }) => isReady)
    const start = Math.floor(Math.random() * nodes.length)
    for (const node of [...nodes.slice(start), ...nodes.slice(0, start)]) {
      const reply = await withinMs(replyTimeoutMs, node.sendCommand(['CLUSTER', 'SLOTS'])).catch(() => undefined)
      if (!Array.isArray(reply) || reply.length === 0) continue
      if (!isClosed) assignSlots(reply as SlotRange[], hostOf(node))
      return
    }
  }

  function assignSlots(ranges: SlotRange[], nodeHost: string): void {
    owners = new Array(slotCount)
    for (const [from, to, [host, port]] of ranges) {
      // A node that does not know its own address has the host of this connection.
      owners.fill(masters.connection(addressOf(String(host ?? '') || nodeHost, port)), from, to + 1)
    }
    servers = [...new Set(owners.filter((owner) => owner !== undefined))]
    masters.closeUnused()
  }

  /** One refresh at a time; concurrent callers share it. */
  function refresh(): Promise<void> {
    refreshing ??= readSlots().finally(() => {
      refreshing = undefined
    })
    return refreshing
  }

  const route: Route<S> = async (key, send) => {
    const owner = requireReady(owners[slotOf(key)])
    try {
      return await send(owner)
    } catch (error) {
      const [, kind, host, port] = /^(MOVED|ASK) \d+ (\S*):(\d+)$/.exec((error as Error).message) ?? []
      if (port === undefined) throw error
      void refresh()
      const target = requireReady(masters.connection(addressOf(host || hostOf(owner), port)), error)
      // ASKING applies to the next command on its connection.
      if (kind === 'ASK') target.sendCommand(['ASKING']).catch(() => {})
      return send(target)
    }
  }

  const timer = setInterval(() => void refresh(), refreshEveryMs)
  for (const seed of seeds) seed.once('ready', () => void refresh())
  const isReady = () => servers.some((server) => server.isReady)
  return {
    redis: Object.assign(routedCommands({ route, isReady }, options.scripts), { slotOf }),
    route,
    servers: () => servers,
    keyOn(client) {
      for (let tag = 0; tag < slotCount; tag += 1) if (owners[slotOf(`{${tag}}`)] === client) return `{${tag}}`
      return '{0}'
    },
    failure: () => seeds.map(connectionFailure).find((error) => error !== undefined),
    close() {
      isClosed = true
      clearInterval(timer)
      for (const seed of seeds) seed.destroy()
      masters.close()
    }
  }
}

type SlotRange = [from: number, to: number, master: [host: string | null, port: number, ...others: unknown[]]]

// Longer than the deadline of any call: all commands that were sent to a former master have ended by then.
const closeUnusedAfterMs = 60_000

/** The connections to masters, by address; a master that lost its slots keeps its connection for a minute. */
function createMasterConnections<S extends RedisScripts>(config: RedisConfig, options: RedisStoreOptions<S>) {
  const masters = new Map<string, { client: RedisClient<S>; usedAt: number }>()
  return {
    connection(address: string): RedisClient<S> {
      const usedAt = performance.now()
      const client = masters.get(address)?.client ?? connectObserved(addressUrl(config, address), options)
      masters.set(address, { client, usedAt })
      return client
    },
    closeUnused(): void {
      for (const [address, { client, usedAt }] of masters) {
        if (performance.now() - usedAt < closeUnusedAfterMs) continue
        masters.delete(address)
        client.destroy()
      }
    },
    close(): void {
      for (const { client } of masters.values()) client.destroy()
    }
  }
}
