/** Starts session-svc. */

import { createOpsServer } from '#common/ops/ops-server.ts'
import { watchReadiness } from '#common/ops/readiness.ts'
import { warnOutsideProduction } from '#common/process/development-warning.ts'
import { runService } from '#common/process/lifecycle.ts'
import { buildApp } from './app.ts'
import { load } from './config.ts'
import { createDurabilityCheck } from './redis-durability.ts'
import { redisDependencies } from './redis-probes.ts'
import { openSessionStore } from './session-store.ts'

await runService('session-svc', load, (config, { log, registry, logDependencies }) => {
  warnOutsideProduction('sessionSvc.host', config.sessionSvc.host, log)
  const durability = createDurabilityCheck(config.redis.durability)
  const store = openSessionStore(config.redis, {
    log,
    onReady(client) {
      durability.forget(client)
      readiness.probeNow()
    },
    // Notify user-svc at once, so that it hashes no password for a session that cannot be created.
    onError: () => readiness.probeNow()
  })
  const readiness = watchReadiness(
    [...redisDependencies(store, config.redis.topology, durability.require), ...logDependencies],
    log,
    registry
  )
  const app = buildApp({ redis: store.redis, readiness, registry, log }, config)
  const { host, port, opsHost, opsPort } = config.sessionSvc
  return {
    ops: { server: createOpsServer(registry, readiness, log), host: opsHost, port: opsPort },
    listen: () => app.listen({ host, port }),
    intake: { name: 'rpc', close: () => app.close(), inFlight: app.callsInFlight },
    closables: [{ name: 'redis', close: async () => store.close() }],
    readiness
  }
})
