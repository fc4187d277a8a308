/** Runs the shipper in a worker thread, and restarts it when it fails. */

import { Worker } from 'node:worker_threads'
import { backoffMs } from '#common/time/backoff.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import type { EndRequest, ShipperData, ShipperReport } from './shipper-worker.ts'

/** A running shipper. */
export interface ShipperThread {
  /**
   * Resolves when the thread has ended: after `withinMs`, earlier if all lines are shipped or the brokers are down.
   *
   * @returns whether all lines are shipped
   */
  end(withinMs: number): Promise<boolean>
}

// For the last report of a thread whose brokers do not respond.
const reportMs = 300
const restartBackoff = { baseMs: 1000, capMs: 30_000 }

export function startShipperThread(
  data: ShipperData,
  events: { reported(report: ShipperReport): void; failed(error: Error): void },
  clock: Clock = systemClock
): ShipperThread {
  let worker: Worker | undefined
  let failures = 0
  let ending = false
  let isComplete = false

  function start(): void {
    worker = new Worker(new URL('./shipper-worker.ts', import.meta.url), {
      workerData: data,
      // Without the flags of the process: a thread rejects V8 flags.
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 1 }
    })
    worker.unref()
    worker.on('message', (report: ShipperReport) => {
      failures = 0
      isComplete = report.isComplete
      events.reported(report)
    })
    worker.on('error', events.failed)
    worker.on('exit', onExit)
  }

  async function onExit(): Promise<void> {
    worker = undefined
    if (ending) return
    const restartMs = backoffMs(failures, restartBackoff)
    failures += 1
    await clock.sleep(restartMs, undefined, true)
    if (!ending) start()
  }

  start()
  return {
    async end(withinMs) {
      ending = true
      const last = worker
      if (last === undefined) return false
      const ended = new Promise((done) => last.once('exit', done))
      last.postMessage({ withinMs: Math.max(0, withinMs - reportMs) } satisfies EndRequest)
      const timer = setTimeout(() => void last.terminate(), withinMs)
      await ended
      clearTimeout(timer)
      return isComplete
    }
  }
}
