/** Redis servers of its own for a test that harms them: alone, as a cluster, or with a replica and Sentinels. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectRedis, type RedisClient } from '#common/redis/connection.ts'
import type { PemFiles } from '#common/tls/pem-source.ts'
import { freePort } from './ports.ts'
import { silentLog } from './service.ts'
import { until } from './until.ts'

type Ending = { teardown: (end: () => unknown) => void }

/** A server that runs until the test ends, on one port and with one folder of data. */
export interface RedisServer {
  port: number
  address: string
  /** The address by TLS, if the server has any. */
  tlsAddress: string
  /** A connection of the test's own. */
  client: RedisClient
  start(): Promise<void>
  signal(signal: NodeJS.Signals): void
}

/**
 * Starts a server that keeps every write, with more settings as its configuration file has them.
 *
 * @param tls its certificate and the CA of its clients, for a second port by TLS
 */
export async function startRedisServer(
  t: Ending,
  settings: string[] = [],
  mode: string[] = [],
  tls?: PemFiles
): Promise<RedisServer> {
  const [port, tlsPort] = (await Promise.all([freePort(), freePort()])) as [number, number]
  const directory = mkdtempSync(join(tmpdir(), 'redis-'))
  const file = join(directory, 'redis.conf')
  const durability = mode.length > 0 ? [] : ['appendonly yes', 'save ""', 'repl-diskless-sync-delay 0']
  const address = [`port ${port}`, 'bind 127.0.0.1', ...(tls ? tlsSettings(tlsPort, tls) : [])]
  writeFileSync(file, [...address, `dir ${directory}`, ...durability, ...settings, ''].join('\n'))
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
  const [plain, secure] = [port, tlsPort].map((each) => `127.0.0.1:${each}`) as [string, string]
  return { port, address: plain, tlsAddress: secure, client, start, signal: (signal) => void child?.kill(signal) }
}

/** Clients need a certificate; replication and Sentinels use TLS too. */
function tlsSettings(port: number, { ca, cert, key }: PemFiles): string[] {
  const files = [`tls-cert-file ${cert}`, `tls-key-file ${key}`, `tls-ca-cert-file ${ca}`]
  return [`tls-port ${port}`, ...files, 'tls-auth-clients yes', 'tls-replication yes']
}

/** A cluster of masters without replicas, whose running servers serve their slots while others are down. */
export async function startRedisCluster(t: Ending, count = 3, tls?: PemFiles): Promise<RedisServer[]> {
  const busPorts = await Promise.all(Array.from({ length: count }, freePort))
  const settings = ['cluster-enabled yes', 'cluster-node-timeout 1000', 'cluster-require-full-coverage no']
  const servers = await Promise.all(
    busPorts.map((busPort) =>
      startRedisServer(t, [...settings, `cluster-port ${busPort}`, ...(tls ? ['tls-cluster yes'] : [])], [], tls)
    )
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
export async function startRedisWithSentinels(t: Ending, sentinelCount = 3, tls?: PemFiles) {
  const master = await startRedisServer(t, [], [], tls)
  const masterPort = (tls ? master.tlsAddress : master.address).split(':')[1]
  const replica = await startRedisServer(t, [`replicaof 127.0.0.1 ${masterPort}`], [], tls)
  const settings = [
    `sentinel monitor main 127.0.0.1 ${masterPort} ${Math.floor(sentinelCount / 2) + 1}`,
    'sentinel down-after-milliseconds main 1000',
    'sentinel failover-timeout main 3000'
  ]
  const sentinels = await Promise.all(
    Array.from({ length: sentinelCount }, () => startRedisServer(t, settings, ['--sentinel'], tls))
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
