/** The log of a service: every line to the disk buffer and from there to Kafka, severe ones to standard output too. */

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
import { type Dependency, ProbeError } from '#common/ops/readiness.ts'
import { type Ownership, renewMs, takeOwnership } from '#common/process/directory-lease.ts'
import { createLogger, type Logger } from './logger.ts'

/** The sections of the configuration that the log of a service takes. */
export interface ServiceLogConfig {
  log: { level: string; stdout: string; spool: { directory: string; maxBytes: number } }
  kafka: KafkaOptions & { enabled?: boolean }
}

/** A log that takes lines. */
export interface ServiceLog {
  log: Logger
  /** The brokers that the lines go to, for the service's readiness; none if there are none. */
  dependencies: Dependency[]
  /** Begins to ship; lines that were written before wait in the buffer. */
  startShipping(): void
  /** Writes what has been taken, and ships it if that can be done within a time. No line may come after this. */
  close(withinMs: number): Promise<void>
}

const [leastSegmentBytes, mostSegmentBytes] = [2 ** 16, 8 * 2 ** 20]
// With Kafka switched off the disk buffer is where the log is kept: what is removed at its limit is at most a day of lines at once.
const keptSegmentMs = 86_400_000
const dropReasons = ['disk', 'too_long', 'too_large', 'spool_full', 'torn'] satisfies DropReason[]

/**
 * Opens the log of this process.
 *
 * @throws {ConfigError} if the directory of the buffer can never be used; that it is full is no such reason
 */
export function openServiceLog(service: string, config: ServiceLogConfig, registry: Registry): ServiceLog {
  const instance = `${hostname().replaceAll(/[^\w.-]/g, '-')}-${randomUUID().slice(0, 8)}`
  const { level, stdout, spool: options } = config.log
  const serviceDirectory = join(resolve(options.directory), service)
  const directory = join(serviceDirectory, instance)
  makeWritable('log.spool.directory', options.directory, directory)
  const metrics = logMetrics(registry)
  const retains = config.kafka.enabled === false
  // A buffer that retains is full for good: its size is no limit at which lines are lost.
  if (!retains) spoolLimitMetric(registry).set(options.maxBytes)
  const ownership = own(directory)

  const segmentMs = retains ? keptSegmentMs : Number.POSITIVE_INFINITY
  const spoolEvents: SpoolEvents = {
    dropped: (count, reason) => metrics.dropped.inc({ reason }, count),
    disk(error) {
      const fields = { event: error ? 'log_disk_failed' : 'log_disk_works', ...(error && { err: error }) }
      // Not now: this comes from the middle of a write.
      setImmediate(() =>
        log[error ? 'error' : 'warn'](fields, error ? 'the disk takes no log lines' : 'the disk takes log lines again')
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
  let owned = true
  const renewal = setInterval(() => {
    const still = ownership?.renew() ?? true
    if (owned && !still) log.error({ event: 'log_buffer_lost' }, 'another process has taken over the disk buffer')
    owned = still
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
        reported: take,
        failed: (err) => log.error({ event: 'log_shipper_failed', err }, 'the shipping of the log failed')
      }
    )
  }

  function take(report: ShipperReport): void {
    brokers = report.brokers
    metrics.bytes.set(report.bytes)
    metrics.shipped.inc(report.shipped)
    for (const [reason, count] of Object.entries(report.dropped) as [DropReason, number][]) {
      metrics.dropped.inc({ reason }, count)
      log.warn({ event: 'log_lines_dropped', reason, count }, 'dropped log lines')
    }
    if (report.disk !== undefined && report.disk !== shippingDisk) {
      log.error({ event: 'log_disk_failed', reason: report.disk }, 'it cannot be noted how far the log is shipped')
    }
    shippingDisk = report.disk
  }

  async function close(withinMs: number): Promise<void> {
    spool.close()
    clearInterval(renewal)
    await shipper?.end(withinMs)
    ownership?.leave()
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

/** A full disk keeps nobody from starting; it is said that the disk takes no lines. */
function own(directory: string): Ownership | undefined {
  try {
    return takeOwnership(directory, sourceStaleMs)
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
    help: 'Log lines that could not be kept, by reason',
    labelNames: ['reason'] as const,
    registers
  })
  for (const reason of dropReasons) dropped.inc({ reason }, 0)
  return {
    dropped,
    bytes: new Gauge({ name: 'log_spool_bytes', help: 'Bytes of the log in the disk buffer', registers }),
    shipped: new Counter({ name: 'log_shipped_total', help: 'Log lines that the brokers have acknowledged', registers })
  }
}

export function spoolLimitMetric(registry: Registry) {
  const help = 'Bytes of the disk buffer beyond which lines are lost'
  return new Gauge({ name: 'log_spool_limit_bytes', help, registers: [registry] })
}
