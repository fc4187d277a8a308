/** How streams without an end of their own end when their service stops. */

const lookMs = 100

/** The messages of a stream, until the service begins to stop: whoever sends them goes on elsewhere. */
export async function* untilStopping<T>(messages: AsyncIterable<T>, isStopping: () => boolean): AsyncGenerator<T> {
  const iterator = messages[Symbol.asyncIterator]()
  let end = () => {}
  const timer = setInterval(() => {
    if (isStopping()) end()
  }, lookMs)
  try {
    while (!isStopping()) {
      const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
        end = () => resolve({ done: true, value: undefined })
        iterator.next().then(resolve, reject)
      })
      if (next.done) return
      yield next.value
    }
  } finally {
    clearInterval(timer)
  }
}
