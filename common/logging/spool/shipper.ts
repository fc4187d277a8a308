/** Ships the lines of the disk buffer to the brokers, in order and without a time limit. */

import { systemClock } from '#common/time/clock.ts'
import { createDelivery } from './delivery.ts'
import type { ShipperEvents, ShipperOptions, ShipperSignals } from './shipper-options.ts'
import type { Source } from './source.ts'
import { openSources } from './sources.ts'

// Brokers take at most 1 MiB at once by default.
const batchBytes = 512 * 1024
// A record costs the brokers and the sinks the same whatever its size, so few lines wait longer for others.
const lingerMs = (bytes: number) => (bytes < 16 * 1024 ? 1000 : 250)

/** Ships until it is ended. @returns whether all lines are shipped */
export async function ship(options: ShipperOptions, events: ShipperEvents, signals: ShipperSignals): Promise<boolean> {
  const { stop, cutOff } = signals
  const { directory, maxBytes, send, clock = systemClock } = options
  const buffer = Buffer.allocUnsafe(batchBytes)
  const sources = openSources(options, events, clock.now)
  const deliver = send && createDelivery(send, directory, events, signals, clock, sources.maintain)
  let gaveUp = false

  /** Ships one batch of each source. @returns the size of the largest: after a full batch more lines may wait */
  async function shipRound(deliverBatch: NonNullable<typeof deliver>): Promise<number> {
    let largest = 0
    for (const source of sources.all()) {
      const batch = source.next(buffer)
      if (batch === undefined) {
        sources.removeIfAdopted(source)
        continue
      }
      largest = Math.max(largest, batch.bytes.length)
      const partition = await deliverBatch(source, batch)
      if (partition === undefined) {
        gaveUp = true
        return 0
      }
      acknowledge(source, partition)
    }
    return largest
  }

  /** After a failed write, a crash before the next write ships some lines twice. */
  function acknowledge(source: Source, partition: number): void {
    try {
      source.acknowledge(partition)
      events.disk(undefined)
    } catch (error) {
      events.disk(error)
    }
  }

  const hasNoLines = () => sources.all().every((source) => source.next(buffer) === undefined)
  let isComplete = false
  for (;;) {
    sources.maintain()
    const shippedBytes = deliver === undefined ? 0 : await shipRound(deliver)
    if (cutOff.aborted) break
    const isUrgent = stop.aborted || sources.heldBytes() > maxBytes / 4
    if (shippedBytes > (isUrgent ? 0 : batchBytes / 2)) continue
    if (stop.aborted) {
      isComplete = deliver !== undefined && !gaveUp && hasNoLines()
      break
    }
    await clock.sleep(lingerMs(shippedBytes), stop).catch(() => {})
  }
  sources.close(isComplete)
  return isComplete
}
