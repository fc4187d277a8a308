/** A hash queue whose hashes take the time of a test clock. */

import { ConnectError } from '@connectrpc/connect'
import { createTestClock } from '#common/testing/test-clock.ts'
import type { CallClass, Flow } from '../../passwords/fair-queue.ts'
import type { Lane } from '../../passwords/hash-lanes.ts'
import { HashQueue } from '../../passwords/hash-queue.ts'

/** A queue that expects a hash to take `hashMs` milliseconds. */
export function createQueue(slots: number, hashMs = 1000) {
  const clock = createTestClock()
  const seen = { lengths: [] as string[], waits: [] as number[], shed: [] as string[], started: [] as string[] }
  const queue = new HashQueue(
    slots,
    hashMs,
    {
      onLength: (lane, waiting) => void seen.lengths.push(`${lane} ${waiting}`),
      onStart: (_lane, seconds) => void seen.waits.push(seconds),
      onShed: (reason, flow) => void seen.shed.push(flow.class === 'clean' ? reason : `${reason} ${flow.class}`)
    },
    clock
  )
  /** A caller with a deadline in `budgetMs` milliseconds. */
  function caller(budgetMs = 60_000, signal = new AbortController().signal, flow?: Flow) {
    const endsAt = clock.now() + budgetMs
    return { signal, timeoutMs: () => endsAt - clock.now(), ...(flow && { flow }) }
  }
  /** A caller of a network with a deadline in `budgetMs` milliseconds. */
  const from = (callClass: CallClass, network: string, budgetMs = 60_000) =>
    caller(budgetMs, undefined, { class: callClass, network })
  function hash(lane: Lane, name = '', from = caller(), tookMs = hashMs): Promise<string> {
    return queue.run(lane, from, async () => {
      seen.started.push(`${lane} ${name}`.trim())
      await clock.sleep(tookMs)
      return name
    })
  }
  return { clock, queue, caller, from, hash, seen }
}

/** When a call settled, and its error, if any. */
export async function outcome(clock: { now(): number }, call: Promise<unknown>) {
  const error = await errorOf(call)
  return { error, code: error?.code, atMs: clock.now() }
}

export const errorOf = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error) => ConnectError.from(error)
  )
