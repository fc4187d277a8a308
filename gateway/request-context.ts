/** The context of a request: its trace, its deadline, and the headers of its response. */

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { CallOptions } from '@connectrpc/connect'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { continueTrace, type Trace, traceparent } from '#common/ops/trace.ts'
import { propagate } from '#common/rpc/call-context.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import { streamOf } from './http2.ts'
import { clientClosed } from './problem.ts'
import { browserHeaders, transportHeaders } from './response-headers.ts'

const traceSlot = Symbol('trace')

/** The trace of a request: the trace that its `traceparent` names, or a new one. */
export function traceOf(raw: IncomingMessage & { [traceSlot]?: Trace }): Trace {
  raw[traceSlot] ??= continueTrace(raw.headers.traceparent as string | undefined)
  return raw[traceSlot]
}

/** The headers of every response on a connection. */
export function commonHeaders(trace: Trace, socket: Socket): Record<string, string> {
  return {
    ...browserHeaders,
    ...transportHeaders(socket),
    'cache-control': 'no-store',
    traceparent: traceparent(trace),
    'x-request-id': trace.traceId
  }
}

export function addCommonHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(commonHeaders(traceOf(request.raw), request.raw.socket))
    done()
  })
}

/** The `User-Agent` of a request, for lists of sessions. Never logged. */
export function userAgentOf({ headers }: FastifyRequest): { userAgent?: string } {
  const userAgent = headers['user-agent']
  return userAgent === undefined ? {} : { userAgent }
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Milliseconds that the route may take from its first upstream call on. */
    budgetMs?: number
  }
}

const endSlot = Symbol('end')

/** The deadline of a request (`performance.now()`): the budget of its route, from the first upstream call on. */
export function budgetEnd(request: FastifyRequest & { [endSlot]?: number }): number {
  const { budgetMs } = request.routeOptions.config
  if (budgetMs === undefined) throw new TypeError('the route has no budget')
  request[endSlot] ??= performance.now() + budgetMs
  return request[endSlot]
}

const signals = new WeakMap<FastifyRequest, AbortSignal>()

/**
 * The options of an upstream call: the trace of the request, and one deadline for all of its calls. The signal aborts at
 * the deadline or when the client disconnects. Fastify 5.12's own `request.signal` also aborts when the body has been
 * read, and its `handlerTimeout` stops there: fastify/fastify#6725, #7033. Remove when the signal lasts
 * until the response.
 */
export function callOptions(request: FastifyRequest, reply: FastifyReply): CallOptions {
  const endsAt = budgetEnd(request)
  let signal = signals.get(request)
  if (signal === undefined) {
    signal = endSignal(endsAt, reply)
    signals.set(request, signal)
  }
  return propagate({ signal, timeoutMs: () => endsAt - performance.now(), trace: traceOf(request.raw) })
}

function endSignal(endsAt: number, reply: FastifyReply): AbortSignal {
  const end = new AbortController()
  if ((streamOf(reply.raw) ?? reply.raw).destroyed) {
    end.abort(clientClosed())
    return end.signal
  }
  const timer = setTimeout(() => end.abort(deadlineExceeded()), Math.max(0, endsAt - performance.now()))
  reply.raw.once('close', () => {
    clearTimeout(timer)
    // The writable side of an HTTP/2 stream is also finished after a reset.
    if (!reply.raw.headersSent || !reply.raw.writableFinished) end.abort(clientClosed())
  })
  return end.signal
}
