/** Rate limits counted on a real Redis Cluster: by all gateways together, also while one of its servers is away. */

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openRedis } from '#common/redis/store.ts'
import { startRedisCluster } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { rateLimitScripts } from '../plugins/rate-limit-store.ts'
import { buildGateway, credentials, loginAnswer, newAddress } from './gateway.ts'

t.test('two gateways count together; without one server, only for its clients each for itself', async (t) => {
  const servers = await startRedisCluster(t)
  const nodes = servers.map(({ address }) => address)
  const config = { topology: 'cluster' as const, url: '', nodes, sentinelName: '', sentinelPassword: '' }
  const rateLimit = { enabled: true, window: 60_000, max: 10, credentialsMax: 2, sessionMax: 0 }
  const users = { authenticateAndLogin: () => loginAnswer() }

  async function gateway() {
    const { redis, servers: masters, close } = openRedis(config, { log: silentLog, scripts: rateLimitScripts })
    t.teardown(close)
    const { app } = await buildGateway(t, { users, options: { rateLimit }, parts: { redis } })
    while (masters().length < 3 || !masters().every(({ isReady }) => isReady)) await sleep(20)
    return app
  }

  const gateways = [await gateway(), await gateway()] as const
  async function admitted(remoteAddress: string): Promise<number> {
    let count = 0
    for (const app of [...gateways, ...gateways, ...gateways]) {
      const { statusCode } = await app.inject({ method: 'POST', url: '/auth', payload: credentials, remoteAddress })
      if (statusCode === 200) count += 1
    }
    return count
  }

  for (let client = 0; client < 12; client += 1) t.equal(await admitted(newAddress()), 2)
  servers[0]?.signal('SIGKILL')
  while (await servers[0]?.client.ping().catch(() => undefined)) await sleep(20)
  const counts: number[] = []
  for (let client = 0; client < 40; client += 1) counts.push(await admitted(newAddress()))
  const together = counts.filter((count) => count === 2).length
  t.ok(together >= 15, `${together} of 40 clients are counted by both gateways together`)
  t.ok(counts.every((count) => count === 2 || count === 4))
})
