/** A limit in milliseconds for work that has none of its own. */

import type { Clock } from './clock.ts'

/** The limit has passed; the outcome of the work is unknown. */
export class TimeoutError extends Error {
  override name = 'TimeoutError'
}

/** Settles as `work` does, or rejects with a TimeoutError after `ms` milliseconds; a late result is dropped. */
export async function withinMs<T>(ms: number, work: PromiseLike<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TimeoutError(`timed out after ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}

/** As `withinMs`, by a clock that a test can advance. */
export async function withinMsOf<T>(clock: Clock, ms: number, work: PromiseLike<T>): Promise<T> {
  const settled = new AbortController()
  const timeout = clock.sleep(ms, settled.signal).then(() => {
    throw new TimeoutError(`timed out after ${ms} ms`)
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    timeout.catch(() => {})
    settled.abort()
  }
}
