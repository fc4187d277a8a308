/** Rate limits on a Redis Cluster, also while one of its servers is down. */

import t from 'tap'
import { openRedis } from '#common/redis/store.ts'
import { startRedisCluster } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { rateLimitScripts } from '../plugins/rate-limit-store.ts'
import { buildGateway, credentials, limitsOf, newAddress, wrongPassword } from './gateway.ts'

t.test('counts for all gateways; each gateway counts the clients of a server that is down', async (t) => {
  const servers = await startRedisCluster(t)
  const nodes = servers.map(({ address }) => address)
  const config = { topology: 'cluster' as const, url: '', nodes, sentinelName: '', sentinelPassword: '' }
  const rateLimit = limitsOf({ max: 10, credentialsMax: 2 })
  const users = { authenticateAndLogin: wrongPassword }

  async function gateway() {
    const { redis, servers: masters, close } = openRedis(config, { log: silentLog, scripts: rateLimitScripts })
    t.teardown(close)
    const { app } = await buildGateway(t, { users, options: { rateLimit }, parts: { redis } })
    await until('every master is connected', () => masters().length === 3 && masters().every(({ isReady }) => isReady))
    return app
  }

  const gateways = [await gateway(), await gateway()] as const
  async function admitted(remoteAddress: string): Promise<number> {
    let count = 0
    for (const app of [...gateways, ...gateways, ...gateways]) {
      const { statusCode } = await app.inject({ method: 'POST', url: '/auth', payload: credentials, remoteAddress })
      if (statusCode === 401) count += 1
    }
    return count
  }

  // Both gateways admit 2 requests of a client together, or 2 each. (On a busy machine, Redis can answer too late: repeat.)
  async function counts(clients: number): Promise<{ shared: number; separate: number }> {
    const found: number[] = []
    for (let client = 0; client < clients; client += 1) found.push(await admitted(newAddress()))
    return {
      shared: found.filter((count) => count === 2).length,
      separate: found.filter((count) => count === 4).length
    }
  }

  await until('the gateways share the counts of all clients', async () => (await counts(12)).shared === 12)
  servers[0]?.signal('SIGKILL')
  await until('the server is down', async () => !(await servers[0]?.client.ping().catch(() => undefined)))
  await until('the gateways share the counts of the two servers, and count the clients of the third one', async () => {
    const { shared, separate } = await counts(40)
    return shared >= 15 && separate >= 1 && shared + separate === 40
  })
})
