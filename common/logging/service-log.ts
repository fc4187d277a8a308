/** The log of a service: all lines go to the disk buffer and from there to Kafka, severe lines also to standard output. */

import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { Counter, Gauge, type Registry } from '@prometheus-io/client'
import { pino } from 'pino'
import { isFull, makeWritable } from '#common/config/writable-directory.ts'
import type { KafkaOptions } from '#common/kafka/client.ts'
import { sourceStaleMs } from '#common/logging/spool/layout.ts'
import { keepRoomForAudits } from '#common/logging/spool/request-lines.ts'
import { type ShipperThread, startShipperThread } from '#common/logging/spool/shipper-thread.ts'
import type { ShipperData, ShipperReport } from '#common/logging/spool/shipper-worker.ts'
import { type DropReason, openSpool, type Spool, type SpoolEvents } from '#common/logging/spool/spool.ts'
import { ProbeError } from '#common/ops/probe.ts'
import type { Dependency } from '#common/ops/readiness.ts'
import { acquireLease, type Lease, leaseFile, renewMs } from '#common/process/directory-lease.ts'
import { createLogger, type LogDestination, type Logger } from './logger.ts'

/** The sections of the configuration that the log of a service reads. */
export interface ServiceLogConfig {
  log: { level: string; stdout: string; spool: { directory: string; maxBytes: number } }
  kafka: KafkaOptions & { enabled?: boolean }
}

/** The log of a service, and its control. */
export interface ServiceLog {
  log: Logger
  /** The brokers, for the readiness of the service; empty without brokers. */
  dependencies: Dependency[]
  /** Starts to ship. Earlier lines wait in the buffer. */
  startShipping(): void
  /**
   * Writes all lines, and ships them if that takes at most `withinMs`. Lines that are not shipped, and later ones, wait for
   * the next start.
   */
  close(withinMs: number): Promise<void>
}

const [leastSegmentBytes, mostSegmentBytes] = [2 ** 16, 8 * 2 ** 20]
// With Kafka switched off the disk buffer is the place of the log: each removal at its limit removes at most a day of lines.
const keptSegmentMs = 86_400_000
const dropReasons = ['disk', 'too_long', 'too_large', 'spool_full', 'torn', 'request'] satisfies (
  | DropReason
  | 'request'
)[]

/**
 * Opens the log of this process.
 *
 * @throws {ConfigError} if the directory of the buffer is unusable; a full disk does not count
 */
export function openServiceLog(service: string, config: ServiceLogConfig, registry: Registry): ServiceLog {
  const instance = `${hostname().replaceAll(/[^\w.-]/g, '-')}-${randomUUID().slice(0, 8)}`
  const { kafka } = config
  const { level, stdout, spool: options } = config.log
  const { maxBytes } = options
  const serviceDirectory = join(resolve(options.directory), service)
  const directory = join(serviceDirectory, instance)
  makeWritable('log.spool.directory', options.directory, directory)
  const metrics = logMetrics(registry)
  const retains = kafka.enabled === false
  // Without Kafka the buffer fills up by design: removals at its limit do not count as loss.
  if (!retains) spoolLimitMetric(registry).set(maxBytes)
  const lease = ownLease(directory)
  const spoolEvents: SpoolEvents = {
    dropped: (count, reason) => metrics.dropped.inc({ reason }, count),
    // Later, because the spool is in the middle of a write.
    disk: (error) => void setImmediate(() => logDiskChange(log, error))
  }
  const segmentMs = retains ? keptSegmentMs : Number.POSITIVE_INFINITY
  const buffer = openSpool(directory, segmentBytes(maxBytes), spoolEvents, segmentMs)
  const limited = retains
    ? undefined
    : keepRoomForAudits(buffer, maxBytes, () => metrics.dropped.inc({ reason: 'request' }))
  const spool = limited ?? buffer
  const log = createLogger(service, level, withConsole(spool, stdout), instance)
  process.on('exit', spool.flush)
  const renewal = keepRenewing(lease, log)
  const data: ShipperData = { service, instance, directory: serviceDirectory, maxBytes, kafka, retains }
  const shipping = createShipping(data, metrics, log, limited?.onSize)

  function removeBuffer(): void {
    try {
      spool.remove()
    } catch (err) {
      log.error({ event: 'log_disk_failed', err }, 'failed to remove the disk buffer')
    }
  }

  return {
    log,
    dependencies: kafka.brokers.length > 0 ? [{ name: 'kafka', required: 'never', probe: shipping.probe }] : [],
    startShipping: shipping.start,
    async close(withinMs) {
      spool.close()
      clearInterval(renewal)
      if (await shipping.end(withinMs)) removeBuffer()
      lease?.release()
    }
  }
}

function logDiskChange(log: Logger, err: Error | undefined): void {
  if (err) log.error({ event: 'log_disk_failed', err }, 'the disk buffer failed, dropping log lines')
  else log.warn({ event: 'log_disk_works' }, 'the disk buffer works again')
}

/** Writes all lines to the spool, and lines of the level `stdout` or above also to standard output. */
function withConsole(spool: Spool, stdout: string): LogDestination {
  const console = pino.destination({ fd: 1, sync: true })
  const consoleLevel = pino.levels.values[stdout] ?? Number.POSITIVE_INFINITY
  return {
    write(line, severity) {
      spool.write(line)
      if (severity >= consoleLevel) console.write(line)
    }
  }
}

function keepRenewing(lease: Lease | undefined, log: Logger): NodeJS.Timeout {
  let isOwned = true
  function onInterval(): void {
    const isRenewed = lease?.renew() ?? true
    if (isOwned && !isRenewed) log.error({ event: 'log_buffer_lost' }, 'another process took over the disk buffer')
    isOwned = isRenewed
  }
  return setInterval(onInterval, renewMs).unref()
}

/** The shipper, whose reports become metrics, log lines and the readiness of the brokers. */
function createShipping(
  data: ShipperData,
  metrics: ReturnType<typeof logMetrics>,
  log: Logger,
  onSize?: (bytes: number) => void
) {
  let shipper: ShipperThread | undefined
  let brokers: string | undefined
  let disk: string | undefined

  function onReport(report: ShipperReport): void {
    brokers = report.brokers
    metrics.bytes.set(report.bytes)
    onSize?.(report.bytes)
    metrics.shipped.inc(report.shipped)
    for (const [reason, count] of Object.entries(report.dropped) as [DropReason, number][]) {
      metrics.dropped.inc({ reason }, count)
      log.warn({ event: 'log_lines_dropped', reason, count }, 'dropped log lines')
    }
    if (report.disk !== undefined && report.disk !== disk) {
      log.error({ event: 'log_disk_failed', reason: report.disk }, 'failed to write the shipping position')
    }
    disk = report.disk
  }

  function onFailure(err: Error): void {
    log.error({ event: 'log_shipper_failed', err }, 'the log shipper failed, restarting it')
  }

  return {
    start() {
      shipper = startShipperThread(data, { reported: onReport, failed: onFailure })
    },
    end: async (withinMs: number) => shipper?.end(withinMs) ?? false,
    async probe() {
      if (brokers !== undefined) throw new ProbeError(brokers)
    }
  }
}

/** Takes the lease of the buffer. A full disk does not prevent the start; the spool reports it. */
function ownLease(directory: string): Lease | undefined {
  try {
    return acquireLease(leaseFile(directory), sourceStaleMs)
  } catch (error) {
    if (isFull(error)) return undefined
    throw error
  }
}

function segmentBytes(maxBytes: number): number {
  return Math.min(Math.max(Math.floor(maxBytes / 16), leastSegmentBytes), mostSegmentBytes)
}

export function logMetrics(registry: Registry) {
  const registers = [registry]
  const dropped = new Counter({
    name: 'log_dropped_total',
    help: 'Dropped log lines, by reason',
    labelNames: ['reason'] as const,
    registers
  })
  for (const reason of dropReasons) dropped.inc({ reason }, 0)
  return {
    dropped,
    bytes: new Gauge({ name: 'log_spool_bytes', help: 'Size of the disk buffer of the log, in bytes', registers }),
    shipped: new Counter({ name: 'log_shipped_total', help: 'Log lines that the brokers have acknowledged', registers })
  }
}

export function spoolLimitMetric(registry: Registry) {
  const help = 'Size of the disk buffer at which lines are dropped, in bytes'
  return new Gauge({ name: 'log_spool_limit_bytes', help, registers: [registry] })
}
