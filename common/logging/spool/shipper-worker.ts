/** The worker thread that ships the log: it may be busy or blocked without any request noticing. */

import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import type { KafkaOptions } from '#common/kafka/client.ts'
import { collectGarbage } from '#common/process/start-garbage.ts'
import { ship } from './shipper.ts'
import type { DropReason } from './spool.ts'

/** What the thread is started with. */
export interface ShipperData {
  service: string
  instance: string
  directory: string
  maxBytes: number
  kafka: KafkaOptions
  retains: boolean
}

/** What the thread tells: what has happened since it last did. */
export interface ShipperReport {
  shipped: number
  dropped: Partial<Record<DropReason, number>>
  /** Bytes in the buffer. */
  bytes: number
  /** What is wrong with the brokers, if it lasts. */
  brokers: string | undefined
  /** What is wrong with the disk. */
  disk: string | undefined
}

/** Asks the thread to end: at the latest after this time, sooner if all is shipped or the brokers are away. */
export interface EndRequest {
  withinMs: number
}

const reportMs = 1000
const troubleMs = 3000
const { service, instance, directory, maxBytes, kafka, retains } = workerData as ShipperData
const port = parentPort as NonNullable<typeof parentPort>
const stop = new AbortController()
const cutOff = new AbortController()
const report: ShipperReport = {
  shipped: 0,
  dropped: {},
  bytes: 0,
  brokers: undefined,
  disk: undefined
}
let reported = ''
let failingSince: number | undefined

function tell(): void {
  const text = JSON.stringify(report)
  if (text !== reported) port.postMessage(report)
  report.shipped = 0
  report.dropped = {}
  reported = JSON.stringify(report)
}

/** Requests come first when the processors are busy. Only Linux lets a thread have a priority of its own. */
function yieldToRequests(): void {
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), 10)
  } catch {
    // Elsewhere it competes like any other thread.
  }
}

/** Loaded when needed: without brokers nobody pays for the client. */
async function connect() {
  const { createLineSender, kafkaTrouble } = await import('#common/kafka/client.ts')
  const sender = createLineSender(kafka, `${service}-log`)
  return { sender, trouble: (error: unknown) => kafkaTrouble(error, kafka.logs.topic) }
}

yieldToRequests()
port.on('message', ({ withinMs }: EndRequest) => {
  stop.abort()
  setTimeout(() => cutOff.abort(), withinMs).unref()
})
const timer = setInterval(tell, reportMs)
const brokers = kafka.brokers.length > 0 ? await connect() : undefined
// With brokers the start is over when they have the first lines.
let isStarting = brokers !== undefined
if (!isStarting) await collectGarbage()
await ship(
  { service, instance, directory, maxBytes, send: brokers?.sender.send, retains },
  {
    shipped(count) {
      report.shipped += count
      if (isStarting) void collectGarbage()
      isStarting = false
    },
    dropped(count, reason) {
      report.dropped[reason] = (report.dropped[reason] ?? 0) + count
      // What is lost must not be lost from the count as well.
      tell()
    },
    bytes(bytes) {
      report.bytes = bytes
    },
    brokers(error) {
      failingSince = error === undefined ? undefined : (failingSince ?? performance.now())
      // A moment's trouble, such as a leader that is being elected, is none.
      const lasts = failingSince !== undefined && performance.now() - failingSince > troubleMs
      report.brokers = lasts ? brokers?.trouble(error) : undefined
    },
    disk(error) {
      report.disk = error === undefined ? undefined : String((error as NodeJS.ErrnoException).code ?? error)
    }
  },
  stop.signal,
  cutOff.signal
)
clearInterval(timer)
tell()
await brokers?.sender.close()
port.close()
