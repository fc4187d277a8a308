/**
 * A Redis Cluster: a connection to each master, and which of them has which slots. (The driver's own cluster client
 * lets commands wait for a master that it has not reached yet, and a start for all of them.)
 */

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

const slotCount = 16_384
const refreshEveryMs = 1000
const answerWithinMs = 1000
// Longer than any call waits: whatever was sent to a master that is none any more has been answered by then.
const retireAfterMs = 60_000

interface Master<S extends RedisScripts> {
  client: RedisClient<S>
  usedAt: number
}

/** A store over the cluster that the configured nodes belong to. */
export function connectCluster<S extends RedisScripts>(
  config: RedisConfig,
  options: RedisStoreOptions<S>
): RedisStore<S> {
  const seeds = config.nodes.map((address) => connectRedis(addressUrl(config, address), options.log))
  const masters = new Map<string, Master<S>>()
  let owners: (RedisClient<S> | undefined)[] = []
  let servers: RedisClient<S>[] = []
  let refreshing: Promise<void> | undefined
  let closed = false

  function connection(address: string): RedisClient<S> {
    let master = masters.get(address)
    if (master === undefined) {
      const client = connectObserved(addressUrl(config, address), { ...options, failed: lost })
      master = { client, usedAt: 0 }
      masters.set(address, master)
    }
    master.usedAt = performance.now()
    return master.client
  }

  function lost(): void {
    options.failed?.()
    void refresh()
  }

  /** Asks for the slots whoever answers, each time another one first: one that is cut off knows old ones. */
  async function findSlots(): Promise<void> {
    const nodes = [...servers, ...seeds].filter(({ isReady }) => isReady)
    const start = Math.floor(Math.random() * nodes.length)
    for (const node of [...nodes.slice(start), ...nodes.slice(0, start)]) {
      const reply = await withinMs(answerWithinMs, node.sendCommand(['CLUSTER', 'SLOTS'])).catch(() => undefined)
      if (!Array.isArray(reply) || reply.length === 0) continue
      if (!closed) take(reply as SlotRange[], hostOf(node))
      return
    }
  }

  function take(ranges: SlotRange[], askedHost: string): void {
    owners = new Array(slotCount)
    for (const [from, to, [host, port]] of ranges) {
      // A node that does not know its own address is where it was asked.
      owners.fill(connection(addressOf(String(host ?? '') || askedHost, port)), from, to + 1)
    }
    servers = [...new Set(owners.filter((owner) => owner !== undefined))]
    for (const [address, { client, usedAt }] of masters) {
      if (performance.now() - usedAt < retireAfterMs) continue
      masters.delete(address)
      client.destroy()
    }
  }

  /** One at a time; who asks meanwhile gets the one that runs. */
  function refresh(): Promise<void> {
    refreshing ??= findSlots().finally(() => {
      refreshing = undefined
    })
    return refreshing
  }

  const route: Route<S> = async (key, ask) => {
    const owner = requireReady(owners[slotOf(key)])
    try {
      return await ask(owner)
    } catch (error) {
      const [, kind, host, port] = /^(MOVED|ASK) \d+ (\S*):(\d+)$/.exec((error as Error).message) ?? []
      if (port === undefined) throw error
      void refresh()
      const other = requireReady(connection(addressOf(host || hostOf(owner), port)), error)
      // It holds for the very next command.
      if (kind === 'ASK') other.sendCommand(['ASKING']).catch(() => {})
      return ask(other)
    }
  }

  const timer = setInterval(() => void refresh(), refreshEveryMs)
  for (const seed of seeds) seed.once('ready', () => void refresh())
  return {
    redis: Object.assign(
      routedCommands({ route, isReady: () => servers.some(({ isReady }) => isReady) }, options.scripts),
      { slotOf }
    ),
    route,
    servers: () => servers,
    keyOn(client) {
      for (let tag = 0; tag < slotCount; tag += 1) if (owners[slotOf(`{${tag}}`)] === client) return `{${tag}}`
      return '{0}'
    },
    failure: () => seeds.map(connectionFailure).find((error) => error !== undefined),
    close() {
      closed = true
      clearInterval(timer)
      for (const client of [...seeds, ...[...masters.values()].map((master) => master.client)]) client.destroy()
    }
  }
}

type SlotRange = [from: number, to: number, master: [host: string | null, port: number, ...rest: unknown[]]]

function hostOf(client: { options: { url?: string } }): string {
  return new URL(client.options.url ?? 'redis://any').hostname.replaceAll(/[[\]]/g, '')
}

/** The slot of a key: CRC-16 (XMODEM) of its hash tag, or of all of it. @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ */
export function slotOf(key: string): number {
  const tag = /^[^{]*\{([^}]+)\}/.exec(key)?.[1] ?? key
  let crc = 0
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff
  }
  return crc % slotCount
}
