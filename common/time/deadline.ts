/** The deadline and the cancellation of a call: their errors, and waiting that ends with them. */

import { Code, ConnectError } from '@connectrpc/connect'

/** The deadline passed before a response arrived: the outcome is unknown. */
export function deadlineExceeded(cause?: unknown): ConnectError {
  return new ConnectError(
    'There was no response within the deadline.',
    Code.DeadlineExceeded,
    undefined,
    undefined,
    cause
  )
}

/** The caller canceled the call, or its connection ended. */
export function callerCanceled(): ConnectError {
  return new ConnectError('The caller canceled the call.', Code.Canceled)
}

/** The reason of an aborted signal as the error of a deadline or of a cancellation. */
function abortError(signal: AbortSignal): ConnectError {
  const { reason } = signal
  if (reason instanceof ConnectError) return reason
  if (reason instanceof Error && reason.name === 'TimeoutError') return deadlineExceeded()
  return callerCanceled()
}

/**
 * Settles as `work` does, or rejects as soon as the signal aborts. This is for work that cannot be cancelled: it
 * continues, and its late result is dropped.
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
