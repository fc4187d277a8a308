/** Whether the disk of a sink works: logged and counted when it changes. */

import type { Logger } from '#common/logging/logger.ts'
import type { SinkMetrics } from './metrics.ts'

/** The state of a disk. */
interface DiskState {
  /** The reason why the disk fails; undefined while it works. */
  failure(): string | undefined
  onError(error: Error): void
  onSuccess(): void
}

/** A disk that works until its first error. */
export function createDiskState(log: Logger, metrics: SinkMetrics): DiskState {
  let failure: string | undefined
  return {
    failure: () => failure,
    onError(error) {
      const { code } = error as NodeJS.ErrnoException
      const reason = code === 'ENOSPC' ? 'the disk is full' : `the disk fails (${code ?? error.name})`
      const fields = { event: 'log_sink_stalled', reason, err: error }
      if (failure === undefined) log.error(fields, 'collecting stalled because of the disk, will retry')
      failure = reason
      metrics.stalled.set(1)
    },
    onSuccess() {
      if (failure !== undefined) log.warn({ event: 'log_sink_resumed' }, 'the disk works again, collecting resumed')
      failure = undefined
      metrics.stalled.set(0)
    }
  }
}
