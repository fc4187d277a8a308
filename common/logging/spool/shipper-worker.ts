/** The worker thread that ships the log, so that compression and the disk block no request. */

import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import type { KafkaOptions } from '#common/kafka/client.ts'
import { collectGarbage } from '#common/process/start-garbage.ts'
import { ship } from './shipper.ts'
import type { DropReason } from './spool.ts'

/** The data that the thread starts with. */
export interface ShipperData {
  service: string
  instance: string
  directory: string
  maxBytes: number
  kafka: KafkaOptions
  retains: boolean
}

/** A message of the thread: the events since the previous one. */
export interface ShipperReport {
  shipped: number
  dropped: Partial<Record<DropReason, number>>
  /** The size of the buffer. */
  bytes: number
  /** Why the brokers fail, if they have failed for three seconds. */
  brokers: string | undefined
  /** Why the disk fails. */
  disk: string | undefined
  /** Whether the thread has shipped all lines, and ships no more. */
  isComplete: boolean
}

/** Ends the thread: after `withinMs`, earlier if all lines are shipped or the brokers are down. */
export interface EndRequest {
  withinMs: number
}

const reportMs = 1000
const toleranceMs = 3000
const { service, instance, directory, maxBytes, kafka, retains } = workerData as ShipperData
const port = parentPort as NonNullable<typeof parentPort>
const stop = new AbortController()
const cutOff = new AbortController()
const report: ShipperReport = {
  shipped: 0,
  dropped: {},
  bytes: 0,
  brokers: undefined,
  disk: undefined,
  isComplete: false
}
let reported = ''
let failingSince: number | undefined

function sendReport(): void {
  const text = JSON.stringify(report)
  if (text !== reported) port.postMessage(report)
  report.shipped = 0
  report.dropped = {}
  reported = JSON.stringify(report)
}

/** Lowers the CPU priority of the thread. Only Linux has a priority for each thread. */
function yieldToRequests(): void {
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), 10)
  } catch {
    // On other systems the thread keeps its priority.
  }
}

/** Loads the Kafka client only if there are brokers. */
async function connect() {
  const [{ createLineSender }, { describeKafkaFailure }] = await Promise.all([
    import('#common/kafka/client.ts'),
    import('#common/kafka/failure-reason.ts')
  ])
  const sender = createLineSender(kafka, `${service}-log`)
  return { sender, reasonOf: (error: unknown) => describeKafkaFailure(error, kafka.logs.topic) }
}

yieldToRequests()
port.on('message', ({ withinMs }: EndRequest) => {
  stop.abort()
  setTimeout(() => cutOff.abort(), withinMs).unref()
})
const timer = setInterval(sendReport, reportMs)
const brokers = kafka.brokers.length > 0 ? await connect() : undefined
// With brokers the start ends when they have the first lines.
let isStarting = brokers !== undefined
if (!isStarting) await collectGarbage()
report.isComplete = await ship(
  { service, instance, directory, maxBytes, send: brokers?.sender.send, retains },
  {
    shipped(count) {
      report.shipped += count
      if (isStarting) void collectGarbage()
      isStarting = false
    },
    dropped(count, reason) {
      report.dropped[reason] = (report.dropped[reason] ?? 0) + count
      // At once: a crash must not lose the count.
      sendReport()
    },
    bytes(bytes) {
      report.bytes = bytes
    },
    brokers(error) {
      failingSince = error === undefined ? undefined : (failingSince ?? performance.now())
      // Short failures, such as the election of a leader, are not reported.
      const lasts = failingSince !== undefined && performance.now() - failingSince > toleranceMs
      report.brokers = lasts ? brokers?.reasonOf(error) : undefined
    },
    disk(error) {
      report.disk = error === undefined ? undefined : String((error as NodeJS.ErrnoException).code ?? error)
    }
  },
  { stop: stop.signal, cutOff: cutOff.signal }
)
clearInterval(timer)
sendReport()
await brokers?.sender.close()
port.close()
