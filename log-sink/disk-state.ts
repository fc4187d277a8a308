/** Whether the disk of a sink works: logged and counted when it changes. */

import type { Logger } from '#common/logging/logger.ts'
import type { Clock } from '#common/time/clock.ts'
import type { SinkMetrics } from './metrics.ts'

const retryMs = 1000

/** Collecting failed because of the disk. */
export class DiskError extends Error {
  override name = 'DiskError'
}

export type DiskState = ReturnType<typeof createDiskState>

/** A disk that works until its first error. @param stop ends waiting for it */
export function createDiskState(log: Logger, metrics: SinkMetrics, clock: Clock, stop: AbortSignal) {
  let failure: string | undefined

  function onError(error: Error): void {
    const { code } = error as NodeJS.ErrnoException
    const reason = code === 'ENOSPC' ? 'the disk is full' : `the disk fails (${code ?? error.name})`
    const fields = { event: 'log_sink_stalled', reason, err: error }
    if (failure === undefined) log.error(fields, 'collecting stalled because of the disk, will retry')
    failure = reason
    metrics.stalled.set(1)
  }

  return {
    /** The reason why the disk fails; undefined while it works. */
    failure: () => failure,
    onSuccess() {
      if (failure !== undefined) log.warn({ event: 'log_sink_resumed' }, 'the disk works again, collecting resumed')
      failure = undefined
      metrics.stalled.set(0)
    },
    /** Retries an operation until it succeeds or `heartbeat`, called before each retry, rejects. */
    async untilDone(operation: () => Promise<void>, heartbeat: () => Promise<void>): Promise<void> {
      for (;;) {
        try {
          return await operation()
        } catch (error) {
          onError(error as Error)
        }
        await clock.sleep(retryMs, stop)
        await heartbeat()
      }
    },
    /** Settles as `work` does; an error becomes a DiskError. */
    async guard<T>(work: Promise<T>): Promise<T> {
      return work.catch((error) => {
        onError(error)
        throw new DiskError('the disk fails', { cause: error })
      })
    }
  }
}
