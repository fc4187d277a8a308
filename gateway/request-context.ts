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

const calls = new WeakMap<FastifyRequest, CallOptions>()

/**
 * The options of the calls that a request causes: its trace, and one deadline for all of them. They end
 * when the budget is used up or the client has gone away. (Fastify's own `request.signal` also aborts as
 * soon as a body has been read, and its `handlerTimeout` ends with it.)
 */
export function callOptions(request: FastifyRequest, reply: FastifyReply): CallOptions {
  let options = calls.get(request)
  if (options === undefined) {
    const { budgetMs } = request.routeOptions.config
    if (budgetMs === undefined) throw new TypeError('the route has no budget')
    const end = new AbortController()
    const endsAt = performance.now() + budgetMs
    const timer = setTimeout(() => end.abort(deadlineExceeded()), budgetMs)
    reply.raw.once('close', () => {
      clearTimeout(timer)
      if (!reply.raw.writableFinished) end.abort(new ConnectError('The client went away.', Code.Canceled))
    })
    options = onwards({ signal: end.signal, timeoutMs: () => endsAt - performance.now(), trace: traceOf(request.raw) })
    calls.set(request, options)
  }
  return options
}
