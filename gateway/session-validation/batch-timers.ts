/** The two timers of the batcher: one starts the next batch, one enforces deadlines. */

/** One run of `onFlush` serves all calls of `soon` and `within` since the previous run. */
export function createFlushTimer(onFlush: () => void) {
  let immediate: NodeJS.Immediate | undefined
  let timer: NodeJS.Timeout | undefined

  function flush(): void {
    clearTimeout(timer)
    timer = undefined
    immediate = undefined
    onFlush()
  }

  return {
    /** At the end of this turn of the event loop. */
    soon(): void {
      immediate ??= setImmediate(flush)
    },
    /** After `ms` milliseconds, unless `soon` is called before. */
    within(ms: number): void {
      if (immediate === undefined) timer ??= setTimeout(flush, ms)
    }
  }
}

// One timer for all deadlines: a timer for each validation would cost more than the other work of a validation.
const deadlineStepMs = 10

/** Runs `rejectExpired` every 10 ms until it returns false: no validation is pending. */
export function createDeadlineTimer(rejectExpired: () => boolean) {
  let isRunning = false

  function onStep(): void {
    isRunning = rejectExpired()
    if (isRunning) setTimeout(onStep, deadlineStepMs)
  }

  return {
    start(): void {
      if (isRunning) return
      isRunning = true
      setTimeout(onStep, deadlineStepMs)
    }
  }
}
