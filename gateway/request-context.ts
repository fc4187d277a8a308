/** What belongs to one request: its trace, and what is left of its time. */

import type { IncomingMessage } from 'node:http'
import { type CallOptions, Code, ConnectError } from '@connectrpc/connect'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { deadlineExceeded } from '#common/deadline.ts'
import { onwards } from '#common/rpc-context.ts'
import { continueTrace, type Trace, traceparent } from '#common/trace.ts'

const traces = new WeakMap<IncomingMessage, Trace>()

/** The trace of a request: the one that its `traceparent` names, or a new one. */
export function traceOf(raw: IncomingMessage): Trace {
  let trace = traces.get(raw)
  if (trace === undefined) {
    trace = continueTrace(raw.headers.traceparent as string | undefined)
    traces.set(raw, trace)
  }
  return trace
}

/** The headers that every answer has. */
export function commonHeaders(trace: Trace): Record<string, string> {
  return { 'cache-control': 'no-store', traceparent: traceparent(trace), 'x-request-id': trace.traceId }
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Milliseconds that the route may take, from its first call to another service on. */
    budgetMs?: number
  }
}

const ends = new WeakMap<FastifyRequest, { signal: AbortSignal; endsAt: number }>()

/**
 * The options of a call that a request causes: its trace, and one deadline for all its calls. They end when
 * the budget is used up or the client has gone away. (Fastify's own `request.signal` also aborts as soon as
 * a body has been read, and its `handlerTimeout` ends with it.)
 */
export function callOptions(request: FastifyRequest, reply: FastifyReply): CallOptions {
  let end = ends.get(request)
  if (end === undefined) {
    end = beginBudget(request.routeOptions.config.budgetMs, reply)
    ends.set(request, end)
  }
  const { signal, endsAt } = end
  return onwards({ signal, timeoutMs: () => endsAt - performance.now(), trace: traceOf(request.raw) })
}

function beginBudget(budgetMs: number | undefined, reply: FastifyReply): { signal: AbortSignal; endsAt: number } {
  if (budgetMs === undefined) throw new TypeError('the route has no budget')
  const end = new AbortController()
  const timer = setTimeout(() => end.abort(deadlineExceeded()), budgetMs)
  reply.raw.once('close', () => {
    clearTimeout(timer)
    if (!reply.raw.writableFinished) end.abort(new ConnectError('The client went away.', Code.Canceled))
  })
  return { signal: end.signal, endsAt: performance.now() + budgetMs }
}
