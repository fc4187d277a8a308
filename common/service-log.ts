/** The log of a service: every line to the disk buffer and from there to Kafka, severe ones to standard output too. */

import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Counter, Gauge, type Registry } from '@prometheus-io/client'
import { pino } from 'pino'
import type { KafkaOptions } from './kafka.ts'
import { createLogger, type Logger } from './logger.ts'
import { type Ownership, renewMs, takeOwnership } from './ownership.ts'
import { type Dependency, ProbeError } from './readiness.ts'
import { sourceStaleMs } from './spool/layout.ts'
import type { EndRequest, ShipperData, ShipperReport } from './spool/shipper-worker.ts'
import { type DropReason, openSpool } from './spool/spool.ts'
import { isFull, makeWritable } from './writable-directory.ts'

/** The sections of the configuration that the log of a service takes. */
export interface ServiceLogConfig {
  log: { level: string; stdout: string; spool: { directory: string; maxBytes: number } }
  kafka: KafkaOptions
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

const restartMs = 1000
const [leastSegmentBytes, mostSegmentBytes] = [2 ** 16, 8 * 2 ** 20]
const dropReasons = ['disk', 'too_long', 'spool_full', 'torn'] satisfies DropReason[]

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
  metrics.limit.set(options.maxBytes)
  const ownership = own(directory)

  const spool = openSpool(directory, segmentBytes(options.maxBytes), {
    dropped: (count, reason) => metrics.dropped.inc({ reason }, count),
    disk(error) {
      const fields = { event: error ? 'log_disk_failed' : 'log_disk_works', ...(error && { err: error }) }
      // Not now: this comes from the middle of a write.
      setImmediate(() =>
        log[error ? 'error' : 'warn'](fields, error ? 'the disk takes no log lines' : 'the disk takes log lines again')
      )
    }
  })
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
  const renewal = setInterval(() => {
    if (ownership?.renew() === false) log.error({ event: 'log_buffer_lost' }, 'the disk buffer was taken over')
  }, renewMs).unref()

  let worker: Worker | undefined
  let ending = false
  let brokers: string | undefined
  let shippingDisk: string | undefined

  function startShipping(): void {
    const data: ShipperData = {
      service,
      instance,
      directory: serviceDirectory,
      maxBytes: options.maxBytes,
      kafka: config.kafka
    }
    worker = new Worker(new URL('./spool/shipper-worker.ts', import.meta.url), {
      workerData: data,
      execArgv: [...process.execArgv, '--disable-warning=TimeoutNegativeWarning'],
      resourceLimits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 8 }
    })
    worker.unref()
    worker.on('message', take)
    worker.on('error', (err) => log.error({ event: 'log_shipper_failed', err }, 'the shipping of the log failed'))
    worker.on('exit', () => {
      worker = undefined
      if (!ending) setTimeout(startShipping, restartMs).unref()
    })
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
    ending = true
    spool.close()
    clearInterval(renewal)
    if (worker !== undefined) await ended(worker, withinMs)
    ownership?.leave()
  }

  async function ended(shipper: Worker, withinMs: number): Promise<void> {
    const exit = new Promise((done) => shipper.once('exit', done))
    shipper.postMessage({ withinMs } satisfies EndRequest)
    const timer = setTimeout(() => void shipper.terminate(), withinMs)
    await exit
    clearTimeout(timer)
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

function logMetrics(registry: Registry) {
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
    limit: new Gauge({ name: 'log_spool_limit_bytes', help: 'The most that the disk buffer may hold', registers }),
    shipped: new Counter({ name: 'log_shipped_total', help: 'Log lines that the brokers have acknowledged', registers })
  }
}
