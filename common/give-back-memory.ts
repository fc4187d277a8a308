/** Gives back what a start or a load took: V8 itself keeps that garbage for as long as nothing needs the room. */

import { performance } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void

const lookMs = 1000
// Shares of the time that a thread is at work; far enough apart that no even load is taken for coming and going.
const [busyShare, restShare] = [0.2, 0.05]
// A start is over at once; a load may be a pause away from the next, which would need the room again.
const [restLooksAfterStart, restLooksAfterLoad] = [5, 30]

/** Collects all garbage of this thread at once, which takes some 50 ms: for the end of its start, and for each rest from then on. */
export function giveBackMemory(): void {
  setFlagsFromString('--expose-gc')
  // A new context has what the flag exposes; this one was made before.
  const gc = runInNewContext('gc') as Collect
  const collect = () => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  collect()
  // What has run since the start will run again: without its compiled code, the next load would begin slowly.
  setFlagsFromString('--no-flush-bytecode')
  whenRested(collect)
}

/**
 * Acts whenever this thread has rested after it was busy: for five seconds after its start, which counts as busy, and for
 * half a minute from then on.
 */
export function whenRested(act: () => void, looksAfterLoad = restLooksAfterLoad): void {
  let last = performance.eventLoopUtilization()
  let wasBusy = true
  let rested = 0
  let restLooks = restLooksAfterStart
  setInterval(() => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, last)
    last = now
    if (utilization > busyShare) wasBusy = true
    rested = utilization < restShare ? rested + 1 : 0
    if (!wasBusy || rested < restLooks) return
    wasBusy = false
    restLooks = looksAfterLoad
    act()
  }, lookMs).unref()
}
