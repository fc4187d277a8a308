/** A clock that a test advances, so that no test waits for time to pass or depends on the speed of a machine. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '#common/time/clock.ts'

interface TestClock extends Clock {
  /** Ends the sleeps of the next `ms` milliseconds in their order; code that continues after one may sleep again within them. */
  advance(ms: number): Promise<void>
}

/** Lets code that a sleep has resumed run until it waits again, also if it yields a turn of the event loop in between. */
async function settle(): Promise<void> {
  await nextTurn()
  await nextTurn()
}

interface Sleeper {
  endsAt: number
  wake(): void
}

/** A clock at 0 that only `advance` moves. */
export function createTestClock(): TestClock {
  let nowMs = 0
  const sleepers = new Set<Sleeper>()

  function nextDue(untilMs: number): Sleeper | undefined {
    const due = [...sleepers].filter(({ endsAt }) => endsAt <= untilMs)
    return due.sort((a, b) => a.endsAt - b.endsAt)[0]
  }

  return {
    now: () => nowMs,

    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const onAbort = () => {
          sleepers.delete(sleeper)
          reject(signal?.reason)
        }
        const sleeper: Sleeper = {
          endsAt: nowMs + Math.max(0, ms),
          wake() {
            sleepers.delete(sleeper)
            signal?.removeEventListener('abort', onAbort)
            resolve()
          }
        }
        sleepers.add(sleeper)
        signal?.addEventListener('abort', onAbort, { once: true })
      })
    },

    startTimer(ms, onTimeout) {
      const sleeper: Sleeper = {
        endsAt: nowMs + Math.max(0, ms),
        wake() {
          sleepers.delete(sleeper)
          onTimeout()
        }
      }
      sleepers.add(sleeper)
      return () => void sleepers.delete(sleeper)
    },

    async advance(ms) {
      const untilMs = nowMs + ms
      await settle()
      for (let due = nextDue(untilMs); due; due = nextDue(untilMs)) {
        nowMs = Math.max(nowMs, due.endsAt)
        due.wake()
        await settle()
      }
      nowMs = untilMs
    }
  }
}
