/** Starts the gateway. */

import type { DescService } from '@bufbuild/protobuf'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { createOpsServer } from '#common/ops/ops-server.ts'
import { watchReadiness } from '#common/ops/readiness.ts'
import { warnOutsideProduction } from '#common/process/development-warning.ts'
import { runService } from '#common/process/lifecycle.ts'
import { openRedis } from '#common/redis/store.ts'
import { methodsOfRole } from '#common/rpc/callers.ts'
import { probeHealth } from '#common/rpc/client/health-probe.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import { buildApp } from './app.ts'
import { load, shownMailDirectory } from './config.ts'
import { clientClass } from './plugins/device-token.ts'
import { rateLimitScripts } from './plugins/rate-limit-store.ts'

await runService('gateway', load, async ({ gateway, rpc, mail, redis: redisConfig }, parts) => {
  const { log, registry, logDependencies } = parts
  warnOutsideProduction('gateway.host', gateway.host, log)
  if (process.env.NODE_ENV === 'production' && !gateway.rateLimit.enabled) {
    log.warn({ event: 'rate_limit_off' }, 'gateway.rateLimit.enabled is false in production')
  }
  const metrics = rpcClientMetrics(registry)
  metrics.initialize(UserService, SessionService)
  const connect = (name: string, urls: string[], service: DescService) =>
    createRpcTransport({ name, urls, rpc, needs: methodsOfRole('gateway', service), clientClass }, metrics)
  const userSvc = connect('user-svc', rpc.userSvcUrl, UserService)
  const sessionSvc = connect('session-svc', rpc.sessionSvcUrl, SessionService)
  const { redis, close } = openRedis(redisConfig, { log, scripts: rateLimitScripts })
  const readiness = watchReadiness(
    [
      { name: 'session-svc', required: 'always', probe: probeHealth(sessionSvc) },
      // Validations work without user-svc.
      { name: 'user-svc', required: 'at-start', probe: probeHealth(userSvc) },
      ...logDependencies
    ],
    log,
    registry
  )
  const mailDirectory = shownMailDirectory({ gateway, mail })
  const app = await buildApp({ userSvc, sessionSvc, redis, registry, log, mailDirectory }, gateway)
  /** The last lines of requests follow the end of their connections. */
  async function closeApp(): Promise<void> {
    await app.close()
    await app.connectionsClosed()
  }
  return {
    ops: { server: createOpsServer(registry, readiness, log), host: gateway.opsHost, port: gateway.opsPort },
    listen: () => app.listen({ host: gateway.host, port: gateway.port }),
    intake: { name: 'http', close: closeApp, inFlight: app.requestsInFlight },
    closables: [{ name: 'redis', close: async () => close() }],
    readiness
  }
})
