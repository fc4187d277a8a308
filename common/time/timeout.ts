/** A limit for work that has none of its own. */

/** The limit has passed; what became of the work is not known. */
export class TimeoutError extends Error {
  override name = 'TimeoutError'
}

/** Settles as `work` does, or rejects with a TimeoutError after `ms` milliseconds; a late result is dropped. */
export async function withinMs<T>(ms: number, work: PromiseLike<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TimeoutError('There was no answer in time.')), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
