/** What makes the stack stop: a signal, or the end of the `make` that started it. */

const parentCheckMs = 500
// One stop may arrive twice at once: from a group's signal and, passed on, from make.
const sameSignalMs = 500

/** Calls `stop` at the first sign that it is time, and `hurry` at each signal that comes later. */
export function onStop(stop: (why: string) => void, hurry: () => void): void {
  let askedAt: number | undefined

  function ask(why: string): void {
    if (askedAt === undefined) {
      askedAt = performance.now()
      stop(why)
    } else if (performance.now() - askedAt > sameSignalMs) {
      hurry()
    }
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ask(signal))
  if (process.env.MAKELEVEL) watchParent(() => askedAt === undefined && ask('make has ended'))
}

/** A killed make tells nobody. */
function watchParent(ended: () => void): void {
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    ended()
  }, parentCheckMs)
  timer.unref()
}
