/** Starts log-sink. */

import { resolve } from 'node:path'
import { createKafka } from '#common/kafka/client.ts'
import { createOpsServer } from '#common/ops/ops-server.ts'
import { watchReadiness } from '#common/ops/readiness.ts'
import { runService } from '#common/process/lifecycle.ts'
import { load } from './config.ts'
import { createSink } from './sink.ts'

const clientId = 'log-sink'

await runService('log-sink', load, ({ kafka, logSink }, { log, registry, logDependencies }) => {
  const { opsHost, opsPort, group, name, rotate, maxBytes } = logSink
  const directory = resolve(logSink.directory)
  const sink = createSink(
    { kafka: createKafka(kafka, clientId), clientId, log, registry },
    { directory, name, group, rotate, maxBytes, logs: kafka.logs }
  )
  const isNeeded = kafka.brokers.length > 0
  const readiness = watchReadiness(isNeeded ? sink.dependencies : logDependencies, log, registry)
  return {
    ops: { server: createOpsServer(registry, readiness, log), host: opsHost, port: opsPort },
    listen: async () => {
      if (isNeeded) sink.start()
    },
    intake: { name: 'consumer', close: sink.stop },
    closables: [{ name: 'files', close: sink.close }],
    readiness
  }
})
