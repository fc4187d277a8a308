/** The shipper as a thread of its own, which is started again when it fails. */

import { Worker } from 'node:worker_threads'
import type { EndRequest, ShipperData, ShipperReport } from './shipper-worker.ts'

/** A shipper that runs. */
export interface ShipperThread {
  /** Resolves when it has ended: at the latest after this time, sooner if all is shipped or the brokers are away. */
  end(withinMs: number): Promise<void>
}

const [firstRestartMs, lastRestartMs] = [1000, 30_000]

export function startShipperThread(
  data: ShipperData,
  events: { reported(report: ShipperReport): void; failed(error: Error): void }
): ShipperThread {
  let worker: Worker | undefined
  let restartMs = firstRestartMs
  let ending = false

  function start(): void {
    worker = new Worker(new URL('./shipper-worker.ts', import.meta.url), {
      workerData: data,
      // Not those of the process: a thread refuses what is said to V8.
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 1 }
    })
    worker.unref()
    worker.on('message', (report: ShipperReport) => {
      restartMs = firstRestartMs
      events.reported(report)
    })
    worker.on('error', events.failed)
    worker.on('exit', () => {
      worker = undefined
      if (ending) return
      setTimeout(start, restartMs).unref()
      restartMs = Math.min(restartMs * 2, lastRestartMs)
    })
  }

  start()
  return {
    async end(withinMs) {
      ending = true
      const last = worker
      if (last === undefined) return
      const ended = new Promise((done) => last.once('exit', done))
      last.postMessage({ withinMs } satisfies EndRequest)
      const timer = setTimeout(() => void last.terminate(), withinMs)
      await ended
      clearTimeout(timer)
    }
  }
}
