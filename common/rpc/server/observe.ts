/** The server interceptor: a log line and a metric for every unary call, and errors without internal details. */

import { Code, ConnectError, type Interceptor, type UnaryRequest } from '@connectrpc/connect'
import { errorMeaning } from '#common/errors/codes.ts'
import { isOverload } from '#common/errors/connect-errors.ts'
import { toConnectError } from '#common/errors/driver-errors.ts'
import type { LogFields, Logger } from '#common/logging/logger.ts'
import type { RpcMetrics } from '#common/ops/metrics.ts'
import { lineKey, logKey } from '#common/rpc/call-context.ts'
import { callerCanceled, untilAborted } from '#common/time/deadline.ts'
import { isOpenService } from './credential.ts'

/** Logs and counts a finished call. */
export function recordCall(
  log: Logger,
  metrics: RpcMetrics,
  method: Parameters<RpcMetrics['observe']>[0],
  error: ConnectError | undefined,
  startedAt: number,
  more: Pick<LogFields, 'count' | 'traceIds'> = {}
): void {
  const durationMs = performance.now() - startedAt
  metrics.observe(method, error, durationMs / 1000)
  const level = levelOf(method, error)
  const fields = {
    event: 'rpc_served',
    rpc: `${method.parent.typeName}/${method.name}`,
    code: error ? errorMeaning(error.code).name : 'ok',
    durationMs: Math.round(durationMs * 100) / 100,
    ...more
  }
  log[level](error && level === 'error' ? { ...fields, err: error } : fields, 'served a call')
}

/** Calls that were shed are no failures, and there may be very many of them. */
function levelOf(method: Parameters<RpcMetrics['observe']>[0], error: ConnectError | undefined) {
  if (error && !isOverload(error)) return errorMeaning(error.code).logLevel
  return isOpenService(method.parent.typeName) ? 'debug' : 'info'
}

/** A call ends at its deadline, even if its handler does not. */
export function observe(fallbackLog: Logger, metrics: RpcMetrics): Interceptor {
  async function served<T>(request: UnaryRequest, next: (request: UnaryRequest) => Promise<T>): Promise<T> {
    const startedAt = performance.now()
    let error: ConnectError | undefined
    try {
      return await untilAborted(request.signal, next(request))
    } catch (thrown) {
      error = toConnectError(request.signal.aborted ? abortError(request.signal) : thrown)
      throw withoutDetails(error)
    } finally {
      const { contextValues, method } = request
      const log = contextValues.get(logKey) ?? fallbackLog
      recordCall(log, metrics, method, error, startedAt, contextValues.get(lineKey))
    }
  }

  // The only streams are those of health and reflection, which are not logged.
  return (next) => async (request) => (request.stream ? next(request) : served(request, next))
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
