/** The life of a service process: start, drain on SIGTERM, exit code 0; or one line with the reason why it cannot start. */

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
import { type CertificateWatch, createCertificateWatch } from '#common/tls/certificate-watch.ts'
import { PemError, type PemFiles } from '#common/tls/pem-source.ts'
import { listenAt } from './listen.ts'
import { collectGarbage } from './start-garbage.ts'

interface Closable {
  name: string
  close: () => Promise<unknown>
}

/** A built service. */
interface RunningService {
  ops: { server: Server; host: string; port: number }
  /** Starts to accept requests. */
  listen: () => Promise<unknown>
  /** The source of requests or records, closed first. `inFlight`: the number of accepted requests without a response. */
  intake: Closable & { inFlight?: () => number }
  /** Closed in this order after the intake: connections to engines last. */
  closables: Closable[]
  readiness: Readiness
}

/** A section whose connections can use TLS. */
interface TlsSection {
  tls?: PemFiles & { enabled?: boolean }
}

interface ServiceConfig extends ServiceLogConfig, Partial<Record<'gateway' | 'rpc' | 'redis', TlsSection>> {
  kafka: ServiceLogConfig['kafka'] & { enabled: boolean }
  shutdown: { timeout: number; drainDelay: number }
}

/** The parts that every service gets. */
interface ServiceParts {
  log: Logger
  registry: Registry
  /** The dependencies of the log, for the readiness of the service. */
  logDependencies: Dependency[]
  certificates: CertificateWatch
}

// Lines that are not shipped by then wait on the disk for the next start.
const shipAtEndMs = 2000

/**
 * Runs a service until a signal. Mistakes in the configuration end it with one line each and exit code 1; an uncaught
 * exception ends it, after a drain, with an exit code other than 0.
 */
export async function runService<C extends ServiceConfig>(
  name: string,
  load: () => C,
  start: (config: C, parts: ServiceParts) => RunningService | Promise<RunningService>
): Promise<void> {
  const registry = createRegistry(name)
  const configured = configure(name, load, registry)
  if (configured === undefined) return
  const { config, serviceLog } = configured
  const { log } = serviceLog
  const certificates = createCertificateWatch(log, registry)
  const parts = { log, registry, logDependencies: serviceLog.dependencies, certificates }
  const service = await startWithCertificates(name, config, () => start(config, parts), certificates)
  stopOnSignal(service, config.shutdown, serviceLog)
  // Before the first client connects: the collection blocks the event loop.
  await collectGarbage()
  await listen(name, service)
  log.info({ event: 'sys_startup' }, 'started')
  serviceLog.startShipping()
}

/** Ends the process with exit code 1 and the reason if a certificate cannot be used. */
async function startWithCertificates(
  name: string,
  config: ServiceConfig,
  start: () => RunningService | Promise<RunningService>,
  certificates: CertificateWatch
): Promise<RunningService> {
  try {
    for (const section of ['gateway', 'rpc', 'redis', 'kafka'] as const) {
      const { enabled = true, ca = '', cert = '', key = '', crl = '' } = config[section]?.tls ?? {}
      if (enabled) certificates.add(section, { ca, cert, key, crl })
    }
    return await start()
  } catch (error) {
    if (!(error instanceof PemError)) throw error
    console.error(`${name}: ${error.message}`)
    process.exit(1)
  }
}

/** Loads the configuration and opens the log. @returns undefined after a mistake in the configuration */
function configure<C extends ServiceConfig>(
  name: string,
  load: () => C,
  registry: Registry
): { config: C; serviceLog: ServiceLog } | undefined {
  try {
    const config = load()
    config.kafka.brokers = activeBrokers(config.kafka)
    dropDriverVariables()
    return { config, serviceLog: openServiceLog(name, config, registry) }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const line of error.message.split('\n')) console.error(`${name}: ${line}`)
    process.exitCode = 1
    return undefined
  }
}

function stopOnSignal(
  service: RunningService,
  { timeout, drainDelay }: ServiceConfig['shutdown'],
  serviceLog: ServiceLog
): void {
  const { log } = serviceLog
  let closing = 'drain'

  /** Logs the last line: the part that was still closing, and the number of accepted requests without a response. */
  function onAbortedStop(how: string, signal?: string): void {
    const count = service.intake.inFlight?.() ?? 0
    const fields = { event: 'sys_shutdown', reason: closing, count, ...(signal && { signal }) }
    log.error(fields, `${how}: ${closing} was still open, aborted ${count} accepted requests`)
  }

  closeWithGrace(
    {
      delay: timeout + drainDelay,
      logger: false,
      onSecondSignal: (signal) => onAbortedStop('stopped at once', signal),
      onSecondError: (err) => {
        log.fatal({ event: 'sys_crash', err }, 'second uncaught error, stopping at once')
        onAbortedStop('stopped at once')
      },
      onTimeout: () => onAbortedStop('stopped after shutdown.timeout')
    },
    async ({ signal, err }) => {
      if (err) log.fatal({ event: 'sys_crash', err }, 'uncaught error, shutting down')
      else log.info({ event: 'sys_shutdown', ...(signal && { signal }) }, 'stopping')
      await stop(service, drainDelay, log, (name) => {
        closing = name
      })
      log.info({ event: 'sys_shutdown' }, 'stopped')
      await serviceLog.close(shipAtEndMs)
    }
  )
}

/** Starts to accept requests. Ends the process with exit code 1 and the reason if it cannot. */
async function listen(name: string, service: RunningService): Promise<void> {
  try {
    await listenOps(service.ops)
    await service.listen()
  } catch (error) {
    const { code, port, hostname } = error as { code?: string; port?: number; hostname?: string }
    // The error of a host name that does not resolve has no port.
    const where = hostname === undefined ? `on port ${port ?? '?'}` : `at the host ${JSON.stringify(hostname)}`
    console.error(`${name}: cannot listen ${where}: ${code ?? String(error)}`)
    process.exit(1)
  }
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
  onClosing: (name: string) => void
): Promise<void> {
  service.readiness.drain()
  if (drainDelayMs > 0) await new Promise((resolve) => setTimeout(resolve, drainDelayMs))
  await closeOne(service.intake)
  // Before the connections that the probes use are closed.
  service.readiness.stop()
  for (const closable of service.closables) await closeOne(closable)
  service.ops.server.close()
  onClosing('log')

  async function closeOne({ name, close }: Closable): Promise<void> {
    onClosing(name)
    await close().catch((error) => log.error({ event: 'sys_shutdown', reason: name, err: error }, 'failed to close'))
  }
}
