/** What makes the stack stop: a signal, or the end of the `make` that started it. */

const parentCheckMs = 500

/** Calls `stop` at the first sign that it is time, and `hurry` at each later one. */
export function onStop(stop: (why: string) => void, hurry: () => void): void {
  let asked = false

  function ask(why: string): void {
    if (asked) hurry()
    else stop(why)
    asked = true
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ask(signal))
  const parent = process.ppid
  // A killed make tells nobody.
  if (process.env.MAKELEVEL)
    watch(
      () => process.ppid !== parent,
      () => ask('make has ended')
    )
}

function watch(happened: () => boolean, then: () => void): void {
  const timer = setInterval(() => {
    if (!happened()) return
    clearInterval(timer)
    then()
  }, parentCheckMs).unref()
}
