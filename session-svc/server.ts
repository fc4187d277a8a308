/** Starts session-svc. */

import { runService } from '#common/lifecycle.ts'
import { createOpsServer } from '#common/ops-server.ts'
import { watchReadiness } from '#common/readiness.ts'
import { connectRedis, probeRedis } from '#common/redis.ts'
import { buildApp } from './app.ts'
import { load } from './config.ts'
import { requireDurability } from './durability.ts'
import { sessionScripts } from './sessions.ts'

await runService('session-svc', load, (config, { log, registry, logDependencies }) => {
  const redis = connectRedis(config.redis.url, log, sessionScripts)
  let durable = false
  const probe = async () => {
    await probeRedis(redis)
    if (!durable) await requireDurability(redis)
    durable = true
  }
  const readiness = watchReadiness([{ name: 'redis', probe, required: 'always' }, ...logDependencies], log, registry)
  redis.on('ready', () => {
    durable = false
  })
  // Nobody should hash a password for a session that cannot be created, so the loss is told at once.
  redis.on('error', readiness.lookNow)
  const app = buildApp({ redis, readiness, registry, log }, config)
  const { host, port, opsHost, opsPort } = config.sessionSvc
  return {
    ops: { server: createOpsServer(registry, readiness, log), host: opsHost, port: opsPort },
    listen: () => app.listen({ host, port }),
    closables: [
      { name: 'rpc', close: () => app.close(), underWay: app.callsUnderWay },
      { name: 'redis', close: async () => redis.destroy() }
    ],
    readiness
  }
})
