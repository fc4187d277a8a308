/** How streams without an end of their own end. */

const lookMs = 100

/** The messages of a stream until something else says that it is over, which is looked at ten times a second and before each. */
export async function* messagesUntil<T>(isOver: () => boolean, messages: AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = messages[Symbol.asyncIterator]()
  let end = () => {}
  const timer = setInterval(() => {
    if (isOver()) end()
  }, lookMs)
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
        end = () => resolve({ done: true, value: undefined })
        iterator.next().then(resolve, reject)
      })
      if (next.done || isOver()) return
      yield next.value
    }
  } finally {
    clearInterval(timer)
  }
}
