/** Starts log-sink: so far its ops port, and the watch over the brokers that it will read from. */

import { connect } from 'node:net'
import { runService } from '#common/lifecycle.ts'
import { createRegistry } from '#common/metrics.ts'
import { createOpsServer } from '#common/ops-server.ts'
import { type Probe, ProbeError, watchReadiness } from '#common/readiness.ts'
import { load } from './config.ts'

/** Up when any broker accepts a connection. */
function probeBrokers(brokers: string[]): Probe {
  const reach = (address: string) =>
    new Promise<void>((resolve, reject) => {
      const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(address) as unknown as [string, string, string]
      const socket = connect({ host, port: Number(port), timeout: 1500 }, () => {
        socket.destroy()
        resolve()
      })
      socket.on('error', reject)
      socket.on('timeout', () => socket.destroy(new Error('timeout')))
    })
  return async () => {
    await Promise.any(brokers.map(reach)).catch(() => {
      throw new ProbeError('no broker can be reached')
    })
  }
}

await runService('log-sink', load, ({ kafka: { brokers }, logSink: { opsHost, opsPort } }, log) => {
  const registry = createRegistry('log-sink')
  const dependencies = [{ name: 'kafka', required: 'always' as const, probe: probeBrokers(brokers) }]
  // Kafka is the one engine that the product can do without.
  const readiness = watchReadiness(brokers.length > 0 ? dependencies : [], log, registry)
  return {
    ops: { server: createOpsServer(registry, readiness, log), host: opsHost, port: opsPort },
    listen: async () => {},
    closables: [],
    readiness
  }
})
