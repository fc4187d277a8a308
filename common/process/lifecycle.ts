/** How a service lives: starts, serves, drains on SIGTERM, and ends with 0; or says in one line why it cannot start. */

import type { Server } from 'node:http'
import type { Registry } from '@prometheus-io/client'
import closeWithGrace from 'close-with-grace'
import { ConfigError } from '#common/config/load.ts'
import { dropDriverVariables } from '#common/config/runtime-variables.ts'
import { activeBrokers } from '#common/config/shared-sections.ts'
import type { Logger } from '#common/logging/logger.ts'
import { openServiceLog, type ServiceLog, type ServiceLogConfig } from '#common/logging/service-log.ts'
import { createRegistry } from '#common/ops/metrics.ts'
import type { Dependency, Readiness } from '#common/ops/readiness.ts'
import { listenAt } from './listen.ts'
import { collectGarbage } from './start-garbage.ts'

/** One thing to close, in the order of the list. */
export interface Closable {
  name: string
  close: () => Promise<unknown>
  /** What has been accepted and is not answered yet, for what accepts requests. */
  underWay?: () => number
}

/** What a started service consists of. */
export interface RunningService {
  ops: { server: Server; host: string; port: number }
  /** Begins to accept requests. */
  listen: () => Promise<unknown>
  /** Closed one after the other: what accepts requests first, connections to engines last. */
  closables: Closable[]
  readiness: Readiness
}

interface ServiceConfig extends ServiceLogConfig {
  kafka: ServiceLogConfig['kafka'] & { enabled: boolean }
  shutdown: { timeout: number; drainDelay: number }
}

/** What every service is given. */
export interface ServiceParts {
  log: Logger
  registry: Registry
  /** What the log itself depends on, for the service to watch. */
  logDependencies: Dependency[]
}

// What of the log is not shipped by then waits on the disk for the next start.
const shipAtEndMs = 2000

/**
 * Runs a service until it is told to stop. A mistake in the configuration ends it with one line and
 * exit code 1; an exception that nobody caught ends it, after a drain, with a code that is not 0.
 */
export async function runService<C extends ServiceConfig>(
  name: string,
  load: () => C,
  start: (config: C, parts: ServiceParts) => RunningService | Promise<RunningService>
): Promise<void> {
  let config: C
  let serviceLog: ServiceLog
  const registry = createRegistry(name)
  try {
    config = load()
    config.kafka.brokers = activeBrokers(config.kafka)
    dropDriverVariables()
    serviceLog = openServiceLog(name, config, registry)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    console.error(`${name}: ${error.message}`)
    process.exitCode = 1
    return
  }
  const { log } = serviceLog
  let closing = 'drain'
  const service = await start(config, { log, registry, logDependencies: serviceLog.dependencies })
  closeWithGrace(
    {
      delay: config.shutdown.timeout + config.shutdown.drainDelay,
      logger: false,
      onSecondSignal: (signal) => tellCutOff('stopped at once', signal),
      onSecondError: (err) => {
        log.fatal({ event: 'sys_crash', err }, 'another error that nobody handled')
        tellCutOff('stopped at once')
      },
      onTimeout: () => tellCutOff('stopped when the time to finish was over')
    },
    async ({ signal, err }) => {
      if (err) log.fatal({ event: 'sys_crash', err }, 'an error that nobody handled ends the service')
      else log.info({ event: 'sys_shutdown', ...(signal && { signal }) }, 'stopping')
      await stop(service, config.shutdown.drainDelay, log, (name) => {
        closing = name
      })
      log.info({ event: 'sys_shutdown' }, 'stopped')
      await serviceLog.close(shipAtEndMs)
    }
  )
  /** The last line there is: what was waited for, and how much had been accepted and has no answer now. */
  function tellCutOff(how: string, signal?: string): void {
    const count = service.closables.reduce((sum, { underWay }) => sum + (underWay?.() ?? 0), 0)
    const fields = { event: 'sys_shutdown', reason: closing, count, ...(signal && { signal }) }
    log.error(fields, `${how}: ${closing} was still open, ${count} accepted requests were cut off`)
  }

  // Before a client connects, who would have to wait for it.
  await collectGarbage()
  try {
    await listenOps(service.ops)
    await service.listen()
  } catch (error) {
    const { code, port, hostname } = error as { code?: string; port?: number; hostname?: string }
    // A name that is not found has no port.
    const where = hostname === undefined ? `on port ${port ?? '?'}` : `at the host ${JSON.stringify(hostname)}`
    console.error(`${name}: cannot listen ${where}: ${code ?? String(error)}`)
    process.exit(1)
  }
  log.info({ event: 'sys_startup' }, 'started')
  serviceLog.startShipping()
}

function listenOps({ server, host, port }: RunningService['ops']): Promise<Server> {
  return listenAt(
    server,
    host,
    (address) =>
      new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen(port, address, () => {
          server.off('error', reject)
          resolve(server)
        })
      })
  )
}

async function stop(
  service: RunningService,
  drainDelayMs: number,
  log: Logger,
  began: (name: string) => void
): Promise<void> {
  service.readiness.drain()
  if (drainDelayMs > 0) await new Promise((resolve) => setTimeout(resolve, drainDelayMs))
  for (const { name, close } of service.closables) {
    began(name)
    await close().catch((error) =>
      log.error({ event: 'sys_shutdown', reason: name, err: error }, 'could not be closed')
    )
  }
  service.readiness.stop()
  service.ops.server.close()
  began('log')
}
