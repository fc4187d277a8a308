/** A server with the connections of the gateway, by default over TLS, for tests: its routes wait, answer much, or read a body. */

import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { createTestCa } from '#common/testing/certificates.ts'
import { silentLog } from '#common/testing/service.ts'
import type { ServerTls } from '#common/tls/termination.ts'
import { createFastify } from '../fastify.ts'
import { limitConnections } from '../plugins/connection-limits.ts'
import { drainConnections } from '../plugins/drain.ts'
import { errorHandling } from '../plugins/error-responses.ts'
import { acceptJsonOnly } from '../plugins/json-body.ts'
import { listen } from './gateway.ts'

const defaults = {
  max: 1000,
  maxPerNetwork: 100,
  maxStreams: 100,
  keepAliveTimeout: 75_000,
  receiveTimeout: 10_000,
  unreadTimeout: 30_000,
  tls: createTestCa(t).issue('gateway') as ServerTls
}

/** A server with the connections of the gateway, and routes that wait for `finish`, that answer much, and that read a body. */
export async function serve(t: Test, options: Partial<typeof defaults> = {}, isTrusted = () => false) {
  const { tls, ...limits } = { maxPipelined: 32, ...defaults, ...options }
  const registry = new Registry()
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>()
  const errors = errorHandling(registry, silentLog)
  const { app, connections } = createFastify(silentLog, errors, { ...limits, connections: limits, tls }, isTrusted)
  limitConnections(app, connections, limits, { registry, log: silentLog, isTrusted })
  acceptJsonOnly(app)
  drainConnections(app, connections)
  app.get('/wait', () => finished.then(() => 'finished'))
  app.get('/large', async () => Buffer.alloc(1_000_000))
  let read = 0
  app.post('/body', { schema: { body: {} } }, async () => {
    read += 1
    return 'read'
  })
  const port = await listen(app)
  t.teardown(() => {
    finish()
    return app.close()
  })
  const ended = async (reason: string) => {
    const { values } = (await registry.getSingleMetric('http_connections_ended_total')?.get()) ?? { values: [] }
    return values.find(({ labels }) => labels.reason === reason)?.value
  }
  return { app, connections, port, finish, ended, bodiesRead: () => read }
}
