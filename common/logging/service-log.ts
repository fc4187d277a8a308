/** The log of a service: all lines go to the disk buffer and from there to Kafka, severe lines also to standard output. */

import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { Counter, Gauge, type Registry } from '@prometheus-io/client'
import { pino } from 'pino'
import { isFull, makeWritable } from '#common/config/writable-directory.ts'
import type { KafkaOptions } from '#common/kafka/client.ts'
import { sourceStaleMs } from '#common/logging/spool/layout.ts'
import { type ShipperThread, startShipperThread } from '#common/logging/spool/shipper-thread.ts'
import type { ShipperReport } from '#common/logging/spool/shipper-worker.ts'
import { type DropReason, openSpool, type SpoolEvents } from '#common/logging/spool/spool.ts'
import { ProbeError } from '#common/ops/probe.ts'
import type { Dependency } from '#common/ops/readiness.ts'
import { acquireLease, type Lease, leaseFile, renewMs } from '#common/process/directory-lease.ts'
import { createLogger, type Logger } from './logger.ts'

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
  /** Writes all lines, and ships them if that takes at most `withinMs`. No line may follow. */
  close(withinMs: number): Promise<void>
}

const [leastSegmentBytes, mostSegmentBytes] = [2 ** 16, 8 * 2 ** 20]
// With Kafka switched off the disk buffer is the place of the log: each removal at its limit removes at most a day of lines.
const keptSegmentMs = 86_400_000
const dropReasons = ['disk', 'too_long', 'too_large', 'spool_full', 'torn'] satisfies DropReason[]

/**
 * Opens the log of this process.
 *
 * @throws {ConfigError} if the directory of the buffer is unusable; a full disk does not count
 */
export function openServiceLog(service: string, config: ServiceLogConfig, registry: Registry): ServiceLog {
  const instance = `${hostname().replaceAll(/[^\w.-]/g, '-')}-${randomUUID().slice(0, 8)}`
  const { level, stdout, spool: options } = config.log
  const serviceDirectory = join(resolve(options.directory), service)
  const directory = join(serviceDirectory, instance)
  makeWritable('log.spool.directory', options.directory, directory)
  const metrics = logMetrics(registry)
  const retains = config.kafka.enabled === false
  // Without Kafka the buffer fills up by design: removals at its limit do not count as loss.
  if (!retains) spoolLimitMetric(registry).set(options.maxBytes)
  const lease = ownLease(directory)

  const segmentMs = retains ? keptSegmentMs : Number.POSITIVE_INFINITY
  const spoolEvents: SpoolEvents = {
    dropped: (count, reason) => metrics.dropped.inc({ reason }, count),
    disk(error) {
      const fields = { event: error ? 'log_disk_failed' : 'log_disk_works', ...(error && { err: error }) }
      // Later, because the spool is in the middle of a write.
      setImmediate(() =>
        log[error ? 'error' : 'warn'](
          fields,
          error ? 'the disk buffer failed, dropping log lines' : 'the disk buffer works again'
        )
      )
    }
  }
  const spool = openSpool(directory, segmentBytes(options.maxBytes), spoolEvents, segmentMs)
  const console = pino.destination({ fd: 1, sync: true })
  const consoleLevel = pino.levels.values[stdout] ?? Number.POSITIVE_INFINITY
  const output = {
    write(line: string, severity: number) {
      spool.write(line)
      if (severity >= consoleLevel) console.write(line)
    }
  }
  const log = createLogger(service, level, output, instance)
  process.on('exit', spool.flush)
  let isOwned = true
  const renewal = setInterval(() => {
    const isRenewed = lease?.renew() ?? true
    if (isOwned && !isRenewed) log.error({ event: 'log_buffer_lost' }, 'another process took over the disk buffer')
    isOwned = isRenewed
  }, renewMs).unref()

  let shipper: ShipperThread | undefined
  let brokers: string | undefined
  let shippingDisk: string | undefined

  function startShipping(): void {
    const { maxBytes } = options
    const { kafka } = config
    shipper = startShipperThread(
      { service, instance, directory: serviceDirectory, maxBytes, kafka, retains },
      {
        reported: onReport,
        failed: (err) => log.error({ event: 'log_shipper_failed', err }, 'the log shipper failed, restarting it')
      }
    )
  }

  function onReport(report: ShipperReport): void {
    brokers = report.brokers
    metrics.bytes.set(report.bytes)
    metrics.shipped.inc(report.shipped)
    for (const [reason, count] of Object.entries(report.dropped) as [DropReason, number][]) {
      metrics.dropped.inc({ reason }, count)
      log.warn({ event: 'log_lines_dropped', reason, count }, 'dropped log lines')
    }
    if (report.disk !== undefined && report.disk !== shippingDisk) {
      log.error({ event: 'log_disk_failed', reason: report.disk }, 'failed to write the shipping position')
    }
    shippingDisk = report.disk
  }

  async function close(withinMs: number): Promise<void> {
    spool.close()
    clearInterval(renewal)
    await shipper?.end(withinMs)
    lease?.release()
  }

  async function probe(): Promise<void> {
    if (brokers !== undefined) throw new ProbeError(brokers)
  }

  return {
    log,
    dependencies: config.kafka.brokers.length > 0 ? [{ name: 'kafka', required: 'never', probe }] : [],
    startShipping,
    close
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
