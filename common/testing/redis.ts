/** Redis servers of its own for a test that harms them: alone, as a cluster, or with a replica and Sentinels. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectRedis, type RedisClient } from '#common/redis/connection.ts'
import { freePort } from './ports.ts'
import { silentLog } from './service.ts'
import { until } from './until.ts'

type Ending = { teardown: (end: () => unknown) => void }

/** A server that runs until the test ends, on one port and with one folder of data. */
export interface RedisServer {
  port: number
  address: string
  /** A connection of the test's own. */
  client: RedisClient
  start(): Promise<void>
  signal(signal: NodeJS.Signals): void
}

/** Starts a server that keeps every write, with more settings as its configuration file has them. */
export async function startRedisServer(t: Ending, settings: string[] = [], mode: string[] = []): Promise<RedisServer> {
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'redis-'))
  const file = join(directory, 'redis.conf')
  const durability = mode.length > 0 ? [] : ['appendonly yes', 'save ""', 'repl-diskless-sync-delay 0']
  writeFileSync(file, [`port ${port}`, 'bind 127.0.0.1', `dir ${directory}`, ...durability, ...settings, ''].join('\n'))
  let child: ChildProcess | undefined
  const client = connectRedis(`redis://127.0.0.1:${port}`, silentLog)

  async function start(): Promise<void> {
    child = spawn('redis-server', [file, ...mode], { stdio: 'ignore' })
    await until('Redis responds', async () => (await client.ping().catch(() => undefined)) !== undefined)
  }

  t.teardown(async () => {
    client.destroy()
    if (child && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    rmSync(directory, { recursive: true, force: true })
  })
  await start()
  return { port, address: `127.0.0.1:${port}`, client, start, signal: (signal) => void child?.kill(signal) }
}

/** A cluster of masters without replicas, whose running servers serve their slots while others are down. */
export async function startRedisCluster(t: Ending, count = 3): Promise<RedisServer[]> {
  const busPorts = await Promise.all(Array.from({ length: count }, freePort))
  const settings = ['cluster-enabled yes', 'cluster-node-timeout 1000', 'cluster-require-full-coverage no']
  const servers = await Promise.all(
    busPorts.map((busPort) => startRedisServer(t, [...settings, `cluster-port ${busPort}`]))
  )
  for (const [index, { client }] of servers.entries()) {
    const [from, to] = [index, index + 1].map((share) => Math.floor((share * 16_384) / count)) as [number, number]
    await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', String(from), String(to - 1)])
    await client.sendCommand(['CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1)])
    if (index > 0) {
      const { port } = servers[0] as RedisServer
      await client.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', String(port), String(busPorts[0])])
    }
  }
  for (const { client } of servers) {
    await until('the cluster is complete', async () =>
      isComplete(String(await client.sendCommand(['CLUSTER', 'INFO'])), count)
    )
  }
  return servers
}

function isComplete(info: string, count: number): boolean {
  return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${count}`)
}

/** A master and its replica, and Sentinels that promote the replica when the master is down for a second. */
export async function startRedisWithSentinels(t: Ending, sentinelCount = 3) {
  const master = await startRedisServer(t)
  const replica = await startRedisServer(t, [`replicaof 127.0.0.1 ${master.port}`])
  const settings = [
    `sentinel monitor main 127.0.0.1 ${master.port} ${Math.floor(sentinelCount / 2) + 1}`,
    'sentinel down-after-milliseconds main 1000',
    'sentinel failover-timeout main 3000'
  ]
  const sentinels = await Promise.all(
    Array.from({ length: sentinelCount }, () => startRedisServer(t, settings, ['--sentinel']))
  )
  for (const { client } of sentinels) {
    await until('the Sentinel knows all servers', async () =>
      knowsAll(String(await client.sendCommand(['INFO', 'sentinel'])), sentinelCount)
    )
  }
  await until('the replica is connected', async () =>
    String(await replica.client.info('replication')).includes('master_link_status:up')
  )
  return { master, replica, sentinels }
}

function knowsAll(info: string, sentinelCount: number): boolean {
  return info.includes(`slaves=1,sentinels=${sentinelCount}`)
}
