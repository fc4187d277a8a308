/** Measures the rate of arrivals in the last complete window of 10 ms. */

const windowMs = 10

export function createArrivalRate(now: () => number) {
  let startedAt = 0
  let counted = 0
  let perMs = 0
  return {
    count(): void {
      counted += 1
      const elapsedMs = now() - startedAt
      if (elapsedMs < windowMs) return
      perMs = counted / elapsedMs
      counted = 0
      startedAt += elapsedMs
    },
    perMs: () => perMs
  }
}
