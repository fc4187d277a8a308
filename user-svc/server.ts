/** Starts user-svc: reads the configuration, connects, builds, listens. */

import '#common/process/no-native-driver.ts'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { createOpsServer } from '#common/ops/ops-server.ts'
import { watchReadiness } from '#common/ops/readiness.ts'
import { warnOutsideProduction } from '#common/process/development-warning.ts'
import { runService } from '#common/process/lifecycle.ts'
import { methodsOfRole } from '#common/rpc/callers.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { buildApp, hashesAtATime } from './app.ts'
import { keepDeletingExpired } from './brute-force/guess-expiry.ts'
import { createGuessRows } from './brute-force/guess-rows.ts'
import { load } from './config.ts'
import { connectDatabase } from './database.ts'
import { createDatabaseProbe } from './database-probe.ts'
import { createMailSender } from './mail/mail-sender.ts'
import { accountMetrics } from './metrics.ts'
import { keepMigrating } from './migrations.ts'
import { createAccountEvents } from './outbox/account-events.ts'
import { accountRelay } from './outbox/account-relay.ts'
import { createOutboxRows } from './outbox/outbox-rows.ts'
import { startRelay } from './outbox/relay.ts'
import { prepareHashThreads } from './passwords/hash-threads.ts'
import { watchStoredCosts } from './passwords/stored-costs.ts'
import { pemParameter, postgresPemFiles } from './postgres-url.ts'
import { productionWarnings } from './production-warnings.ts'
import { createSessionClient } from './session-client.ts'

await runService('user-svc', load, async (config, { log, registry, logDependencies, certificates }) => {
  await prepareHashThreads(hashesAtATime(config.userSvc.password), log)
  const { postgres, host, port, opsHost, opsPort } = config.userSvc
  warnOutsideProduction('userSvc.host', host, log)
  for (const { event, text } of productionWarnings(config)) log.warn({ event }, text)
  certificates.add(
    'postgres',
    postgresPemFiles(postgres.url),
    (kind) => `userSvc.postgres.url: parameter ${pemParameter(kind)}`
  )
  const pool = connectDatabase(postgres, () => readiness.probeNow())
  const { db } = pool
  const metrics = rpcClientMetrics(registry)
  metrics.initialize(SessionService)
  const transport = createRpcTransport(
    {
      name: 'session-svc',
      urls: config.rpc.sessionSvcUrl,
      rpc: config.rpc,
      needs: methodsOfRole('user-svc', SessionService)
    },
    metrics
  )
  const sessionClient = createSessionClient(transport)
  const migrations = keepMigrating(postgres, log)
  const storedCosts = watchStoredCosts(db, config.userSvc.password.maxCost, log)
  const accounts = accountMetrics(registry)
  const sender = config.mail && createMailSender(config.mail, { db, metrics: accounts.emails, log })
  const readiness = watchReadiness(
    [
      {
        name: 'postgres',
        required: 'always',
        probe: storedCosts.probeAfter(createDatabaseProbe(pool, migrations, log))
      },
      {
        name: 'session-svc',
        required: 'always',
        probe: sessionClient.probe
      },
      // Emails wait in the database until the mail server works.
      ...(sender ? [{ name: 'mail', required: 'never' as const, probe: sender.probe }] : []),
      ...logDependencies
    ],
    log,
    registry
  )
  const { password, bruteForce, requireVerifiedEmail, registration } = config.userSvc
  const app = buildApp(
    { db, sessionClient, metrics: accounts, readiness, registry, log, storedCosts },
    { password, bruteForce, requireVerifiedEmail, registration, mail: config.mail, rpc: config.rpc }
  )
  const guessCounts = keepDeletingExpired(createGuessRows(db), log)
  const events =
    config.kafka.brokers.length > 0 ? createAccountEvents(db, config.kafka, log, config.userSvc.eventKeys) : undefined
  const { sessions } = sessionClient
  const relay = startRelay({
    rows: createOutboxRows(db),
    ...accountRelay(sessions, events),
    pending: accounts.outboxPending,
    failing: accounts.outboxFailing,
    log
  })
  return {
    ops: { server: createOpsServer(registry, readiness, log), host: opsHost, port: opsPort },
    listen: () => app.listen({ host, port }),
    intake: { name: 'rpc', close: () => app.close(), inFlight: app.callsInFlight },
    closables: [
      { name: 'relay', close: relay.close },
      { name: 'mail', close: async () => sender?.close() },
      { name: 'account events', close: async () => events?.close() },
      { name: 'guess counts', close: guessCounts.stop },
      { name: 'migrations', close: async () => migrations.stop() },
      { name: 'stored costs', close: async () => storedCosts.stop() },
      { name: 'postgres', close: pool.close }
    ],
    readiness
  }
})
