/** Stops the stack at a signal, or when the `make` that started it ends. */

const parentCheckMs = 500
// The terminal signals the whole process group, and make forwards the same signal.
const sameSignalMs = 500

/** Calls `onFirst` with the reason at the first signal, and `onLater` at each signal after that. */
export function onStop(onFirst: (reason: string) => void, onLater: () => void): void {
  let stoppedAt: number | undefined

  function stop(reason: string): void {
    if (stoppedAt === undefined) {
      stoppedAt = performance.now()
      onFirst(reason)
    } else if (performance.now() - stoppedAt > sameSignalMs) {
      onLater()
    }
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop(signal))
  if (process.env.MAKELEVEL) watchParent(() => stoppedAt === undefined && stop('make has ended'))
}

/** A killed make forwards no signal. */
function watchParent(onEnd: () => void): void {
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    onEnd()
  }, parentCheckMs)
  timer.unref()
}
