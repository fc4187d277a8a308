/** Starts user-svc. */

import { sql } from 'drizzle-orm'
import { runService } from '#common/lifecycle.ts'
import { rpcClientMetrics } from '#common/metrics.ts'
import { createOpsServer } from '#common/ops-server.ts'
import { ProbeError, watchReadiness } from '#common/readiness.ts'
import { createRpcTransport } from '#common/rpc-client.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { createAccountEvents } from './account-events.ts'
import { buildApp, hashesAtATime } from './app.ts'
import { load } from './config.ts'
import { connectDatabase } from './database.ts'
import { prepareHashThreads } from './hash-threads.ts'
import { accountMetrics } from './metrics.ts'
import { keepMigrating } from './migrations.ts'
import { startRelay } from './relay.ts'
import { createSessionClient } from './session-client.ts'

await runService('user-svc', load, async (config, { log, registry, logDependencies }) => {
  await prepareHashThreads(hashesAtATime(config.userSvc.password))
  const { postgres, host, port, opsHost, opsPort } = config.userSvc
  const { db, fill, close } = connectDatabase(postgres, () => readiness.lookNow())
  const metrics = rpcClientMetrics(registry)
  metrics.announce(SessionService)
  const transport = createRpcTransport(
    { name: 'session-svc', urls: config.rpc.sessionSvcUrl, rpc: config.rpc },
    metrics
  )
  const sessionClient = createSessionClient(transport)
  const migrations = keepMigrating(postgres, log)
  let isShort = false
  const readiness = watchReadiness(
    [
      {
        name: 'postgres',
        required: 'always',
        async probe() {
          if (!migrations.done()) throw new ProbeError(migrations.state())
          await db.execute(sql`select from users limit 0`).catch((error) => {
            migrations.met(error)
            throw error
          })
          await fill().then(
            () => {
              isShort = false
            },
            (error) => {
              const fields = { event: 'postgres_connections_missing', err: error }
              if (!isShort) log.warn(fields, 'not all connections to PostgreSQL can be opened')
              isShort = true
            }
          )
        }
      },
      {
        name: 'session-svc',
        required: 'always',
        probe: sessionClient.probe
      },
      ...logDependencies
    ],
    log,
    registry
  )
  const accounts = accountMetrics(registry)
  const app = buildApp(
    { db, sessionClient, metrics: accounts, readiness, registry, log },
    { password: config.userSvc.password, rpc: config.rpc }
  )
  const events = config.kafka.brokers.length > 0 ? createAccountEvents(db, config.kafka, log) : undefined
  const { sessions } = sessionClient
  const relay = startRelay({ db, sessions, events, pending: accounts.outboxPending, log })
  return {
    ops: { server: createOpsServer(registry, readiness, log), host: opsHost, port: opsPort },
    listen: () => app.listen({ host, port }),
    closables: [
      { name: 'rpc', close: () => app.close(), underWay: app.callsUnderWay },
      { name: 'relay', close: relay.close },
      { name: 'migrations', close: async () => migrations.stop() },
      { name: 'postgres', close }
    ],
    readiness
  }
})
