/** The server interceptor: a log line and a metric for every unary call, and errors without internal details. */

import {
  Code,
  ConnectError,
  type ContextValues,
  type Interceptor,
  type StreamRequest,
  type UnaryRequest
} from '@connectrpc/connect'
import { errorMeaning } from '#common/errors/codes.ts'
import { isOverload } from '#common/errors/connect-errors.ts'
import { toConnectError } from '#common/errors/driver-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import type { RpcMetrics } from '#common/ops/metrics.ts'
import { lineKey, logKey } from '#common/rpc/call-context.ts'
import { methodName } from '#common/rpc/callers.ts'
import { callerCanceled, untilAborted } from '#common/time/deadline.ts'
import { isAdministration, isOpenService } from './credential.ts'

type Method = Parameters<RpcMetrics['observe']>[0]

/** Logs and counts a finished call. A call of administration is an `admin_call`: these lines are the audit. */
export function recordCall(
  fallbackLog: Logger,
  metrics: RpcMetrics,
  { method, values }: { method: Method; values: ContextValues },
  error: ConnectError | undefined,
  startedAt: number
): void {
  const durationMs = performance.now() - startedAt
  metrics.observe(method, error, durationMs / 1000)
  const level = levelOf(method, error)
  const fields = {
    event: isAdministration(method.parent) ? 'admin_call' : 'rpc_served',
    rpc: methodName(method),
    code: error ? errorMeaning(error.code).name : 'ok',
    durationMs: Math.round(durationMs * 100) / 100,
    ...values.get(lineKey)
  }
  const log = values.get(logKey) ?? fallbackLog
  log[level](error && level === 'error' ? { ...fields, err: error } : fields, 'served a call')
}

/** Calls that were shed are no failures, and there may be very many of them. */
function levelOf(method: Method, error: ConnectError | undefined) {
  if (error && !isOverload(error)) return errorMeaning(error.code).logLevel
  return isOpenService(method.parent.typeName) ? 'debug' : 'info'
}

/** A call ends at its deadline, even if its handler does not. */
export function observe(fallbackLog: Logger, metrics: RpcMetrics): Interceptor {
  async function served<T, R extends UnaryRequest | StreamRequest>(
    request: R,
    next: (request: R) => Promise<T>
  ): Promise<T> {
    const startedAt = performance.now()
    let error: ConnectError | undefined
    try {
      return await untilAborted(request.signal, next(request))
    } catch (thrown) {
      error = toConnectError(request.signal.aborted ? abortError(request.signal) : thrown)
      throw withoutDetails(error)
    } finally {
      const { contextValues, method } = request
      recordCall(fallbackLog, metrics, { method, values: contextValues }, error, startedAt)
    }
  }

  // Streams of health and reflection are not logged. The others return one message, so their promise is the whole call.
  return (next) => async (request) =>
    request.stream && isOpenService(request.service.typeName) ? next(request) : served(request, next)
}

/** The error for the caller: an internal error without its cause. */
function withoutDetails(error: ConnectError): ConnectError {
  return error.code === Code.Internal ? new ConnectError('Internal error.', Code.Internal) : error
}

/** Any failure after the deadline or the cancellation is a consequence of it. */
function abortError(signal: AbortSignal): ConnectError {
  const { reason } = signal
  return reason instanceof ConnectError && reason.code === Code.DeadlineExceeded ? reason : callerCanceled()
}
