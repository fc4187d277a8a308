/** The lag of a sink: the time for which the oldest uncollected line has been in the topic. */

/** Lag per partition. */
interface Lag {
  /** @param writtenAt when the last record of the batch was written to the topic, 0 if unknown */
  onBatch(partition: number, writtenAt: number, isBehind: boolean): void
  reset(): void
  /** Milliseconds, 0 if no partition is behind. */
  ms(): number
}

export function createLag(now: () => number): Lag {
  /** Since when each partition has been behind. */
  const behindSince = new Map<number, number>()
  return {
    onBatch(partition, writtenAt, isBehind) {
      if (!isBehind) behindSince.delete(partition)
      // Without a time of the brokers, a partition is behind from the first batch that leaves records.
      else if (writtenAt > 0) behindSince.set(partition, writtenAt)
      else if (!behindSince.has(partition)) behindSince.set(partition, now())
    },
    reset: () => behindSince.clear(),
    // The clock of the brokers may be ahead.
    ms: () => Math.max(0, now() - Math.min(now(), ...behindSince.values()))
  }
}
