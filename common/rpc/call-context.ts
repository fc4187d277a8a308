/** The context of a call: its trace, logger, deadline and cancellation. */

import { type CallOptions, createContextKey, createContextValues, type HandlerContext } from '@connectrpc/connect'
import type { LogFields, Logger } from '#common/logging/logger.ts'
import { newTrace, type Trace } from '#common/ops/trace.ts'
import type { Caller } from './callers.ts'

/** The trace of the request that a call belongs to. */
export const traceKey = createContextKey<Trace | undefined>(undefined, { description: 'trace' })

/** The logger that adds the trace to each line. */
export const logKey = createContextKey<Logger | undefined>(undefined, { description: 'log' })

/** The owner of the credential that the call carries. */
export const callerKey = createContextKey<Caller | undefined>(undefined, { description: 'caller' })

/** Whether the call carries a credential, known or not: a token or a client certificate. */
export const hasCredentialKey = createContextKey<boolean>(false, { description: 'has credential' })

/** Fields that a handler adds to the log line of its call. */
export type LineFields = Pick<LogFields, 'count' | 'traceIds' | 'userId'>
export const lineKey = createContextKey<LineFields>({}, { description: 'line' })

/** The part of the context that a handler passes to what it calls. */
export interface Call {
  signal: AbortSignal
  /** The name of the caller: a role, an application of `rpc.callers`, or `services` for `rpc.token`. */
  caller: string
  /** Milliseconds until the deadline. */
  timeoutMs: () => number
  trace: Trace
  log: Logger
}

/** The call that a handler serves. */
export function callOf(context: HandlerContext, fallback: Logger): Call {
  const trace = context.values.get(traceKey) ?? newTrace()
  return {
    signal: context.signal,
    caller: context.values.get(callerKey)?.name ?? 'unknown',
    timeoutMs: () => context.timeoutMs() ?? 30_000,
    trace,
    log: context.values.get(logKey) ?? fallback
  }
}

/** The options of a call to another service: the same trace and cancellation, and the remaining time. */
export function propagate(call: Pick<Call, 'timeoutMs' | 'trace'> & Partial<Pick<Call, 'signal'>>): CallOptions {
  return {
    ...(call.signal && { signal: call.signal }),
    timeoutMs: Math.max(1, Math.floor(call.timeoutMs())),
    contextValues: createContextValues().set(traceKey, call.trace)
  }
}
