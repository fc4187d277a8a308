/** What travels with a call through the handlers: its trace, its log, its deadline. */

import { type CallOptions, createContextKey, createContextValues, type HandlerContext } from '@connectrpc/connect'
import type { LogFields, Logger } from '#common/logging/logger.ts'
import { newTrace, type Trace } from '#common/ops/trace.ts'

/** The trace of the request that a call belongs to. */
export const traceKey = createContextKey<Trace | undefined>(undefined, { description: 'trace' })

/** The log that carries the trace. */
export const logKey = createContextKey<Logger | undefined>(undefined, { description: 'log' })

/** What a handler has to say for the line about its call, or about a message of its stream. */
export const lineKey = createContextKey<Pick<LogFields, 'count' | 'traceIds'>>({}, { description: 'line' })

/** What a handler passes on to whatever it calls. */
export interface Call {
  signal: AbortSignal
  /** Milliseconds that are left, for the callee to know. */
  timeoutMs: () => number
  trace: Trace
  log: Logger
}

/** A handler's own view of the call that it serves. */
export function callOf(context: HandlerContext, fallback: Logger): Call {
  const trace = context.values.get(traceKey) ?? newTrace()
  return {
    signal: context.signal,
    timeoutMs: () => context.timeoutMs() ?? 30_000,
    trace,
    log: context.values.get(logKey) ?? fallback
  }
}

/** The options of a call to another service: the same trace, what is left of the time, and the same end. */
export function propagate(call: Pick<Call, 'timeoutMs' | 'trace'> & Partial<Pick<Call, 'signal'>>): CallOptions {
  return {
    ...(call.signal && { signal: call.signal }),
    timeoutMs: Math.max(1, Math.floor(call.timeoutMs())),
    contextValues: createContextValues().set(traceKey, call.trace)
  }
}
