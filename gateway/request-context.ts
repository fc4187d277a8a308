/** What belongs to one request: its trace, and what is left of its time. */

import type { IncomingMessage } from 'node:http'
import type { CallOptions } from '@connectrpc/connect'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { continueTrace, type Trace, traceparent } from '#common/ops/trace.ts'
import { onwards } from '#common/rpc/call-context.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import { clientClosed } from './problem.ts'

const traceSlot = Symbol('trace')

/** The trace of a request: the one that its `traceparent` names, or a new one. */
export function traceOf(raw: IncomingMessage & { [traceSlot]?: Trace }): Trace {
  raw[traceSlot] ??= continueTrace(raw.headers.traceparent as string | undefined)
  return raw[traceSlot]
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

const endSlot = Symbol('end')

/** When the time of a request is over, as `performance.now()` counts: its route's budget, from its first call on. */
export function budgetEnd(request: FastifyRequest & { [endSlot]?: number }): number {
  let end = request[endSlot]
  if (end === undefined) {
    const { budgetMs } = request.routeOptions.config
    if (budgetMs === undefined) throw new TypeError('the route has no budget')
    end = performance.now() + budgetMs
    request[endSlot] = end
  }
  return end
}

const signals = new WeakMap<FastifyRequest, AbortSignal>()

/**
 * The options of a call that a request causes: its trace, and one deadline for all its calls. They end when
 * the budget is used up or the client has gone away. (Fastify's own `request.signal` also aborts as soon as
 * a body has been read, and its `handlerTimeout` ends with it.)
 */
export function callOptions(request: FastifyRequest, reply: FastifyReply): CallOptions {
  const endsAt = budgetEnd(request)
  let signal = signals.get(request)
  if (signal === undefined) {
    signal = endSignal(endsAt, reply)
    signals.set(request, signal)
  }
  return onwards({ signal, timeoutMs: () => endsAt - performance.now(), trace: traceOf(request.raw) })
}

function endSignal(endsAt: number, reply: FastifyReply): AbortSignal {
  const end = new AbortController()
  const timer = setTimeout(() => end.abort(deadlineExceeded()), Math.max(0, endsAt - performance.now()))
  reply.raw.once('close', () => {
    clearTimeout(timer)
    if (!reply.raw.writableFinished) end.abort(clientClosed())
  })
  return end.signal
}
