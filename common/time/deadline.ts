/** Waiting that ends: nothing in the product waits for an engine or a service without a deadline. */

import { Code, ConnectError } from '@connectrpc/connect'

/** The error of a wait whose time is over. */
export function deadlineExceeded(): ConnectError {
  return new ConnectError('There was no answer in time.', Code.DeadlineExceeded)
}

/** The reason of an aborted signal as an error that says whether the time was over or the caller went away. */
function abortError(signal: AbortSignal): ConnectError {
  const { reason } = signal
  if (reason instanceof ConnectError) return reason
  if (reason instanceof Error && reason.name === 'TimeoutError') return deadlineExceeded()
  return new ConnectError('The caller went away.', Code.Canceled)
}

/**
 * Settles as `work` does, or rejects as soon as the signal aborts. The work itself goes on; its late
 * result is dropped, so this is for work that has no cancellation of its own.
 */
export async function untilAborted<T>(signal: AbortSignal, work: PromiseLike<T>): Promise<T> {
  if (signal.aborted) {
    Promise.resolve(work).catch(() => {})
    throw abortError(signal)
  }
  let onAbort: () => void = () => {}
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(abortError(signal))
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
