/**
 * Serves unary calls of the Connect protocol in binary, as the services send them, directly on the HTTP/2 stream.
 * connect-fastify serves all other calls. unary-client.ts states the benefit.
 */

import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { create, type DescMethod, type DescMethodUnary, type DescService, fromBinary } from '@bufbuild/protobuf'
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextValues,
  type HandlerContext,
  type Interceptor,
  type UnaryRequest
} from '@connectrpc/connect'
import { mergeNonProtocolHeaders } from '@connectrpc/connect/protocol'
import {
  codeToHttpStatus,
  contentTypeUnaryJson,
  contentTypeUnaryProto,
  errorToJsonBytes,
  parseTimeout
} from '@connectrpc/connect/protocol-connect'
import { intercepted, pathOf, type UnaryCall } from '#common/rpc/client/unary-client.ts'
import { readBody } from '#common/rpc/unary-exchange.ts'
import { callerCanceled, deadlineExceeded } from '#common/time/deadline.ts'
import type { Connection } from './client-certificate.ts'
import { HandledResponse, ServedCall } from './served-call.ts'

/** The context, checks and limits of a call, shared with connect-fastify. */
export interface UnaryServerOptions {
  interceptors: Interceptor[]
  /** Throws to reject a call before its message is read. */
  requestGate: (call: Omit<HandlerContext, 'method'> & { method: DescMethod }) => void
  contextValues: (headers: IncomingHttpHeaders, connection: Connection) => ContextValues
  readMaxBytes: number
  /** The deadline of a call without a shorter one. */
  maxTimeoutMs: number
}

export interface UnaryServer {
  /** A router that registers services both here and with the given router. */
  registering(router: ConnectRouter): ConnectRouter
  isUnary(path: string): boolean
  /** @returns whether the call is served here; if not, its stream is untouched */
  answer(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): boolean
}

interface Route {
  method: DescMethodUnary
  call: UnaryCall
}

export function createUnaryServer(options: UnaryServerOptions): UnaryServer {
  const routes = new Map<string, Route>()

  function register(service: DescService, implementation: Record<string, unknown>): void {
    for (const method of service.methods.filter(isUnaryMethod)) {
      const handle = implementation[method.localName]
      if (typeof handle !== 'function') continue
      const call: UnaryCall = async (request) => {
        const context = request as UnaryRequest & HandlerContext
        return new HandledResponse(
          context,
          create(method.output, await handle.call(implementation, request.message, context))
        )
      }
      routes.set(pathOf(method), { method, call: intercepted(call, options.interceptors) })
    }
  }

  return {
    registering(router) {
      const both: ConnectRouter = {
        ...router,
        service(service, implementation, ...others) {
          register(service, implementation)
          router.service(service, implementation, ...others)
          return both
        }
      }
      return both
    },
    isUnary: (path) => routes.has(path),
    answer(stream, headers) {
      if (headers['content-type'] !== contentTypeUnaryProto || headers[':method'] !== 'POST') return false
      // Responses are short, so they are not compressed for a caller that accepts it.
      if (headers['content-encoding'] !== undefined || headers.expect !== undefined) return false
      const route = routes.get(headers[':path'] ?? '')
      if (route === undefined) return false
      void serve(stream, headers, route, options)
      return true
    }
  }
}

function isUnaryMethod(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === 'unary'
}

async function serve(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  { method, call }: Route,
  { requestGate, contextValues, readMaxBytes, maxTimeoutMs }: UnaryServerOptions
): Promise<void> {
  const timeout = parseTimeout((headers['connect-timeout-ms'] as string | undefined) ?? null, Number.POSITIVE_INFINITY)
  const timeoutMs = Math.min(timeout.timeoutMs ?? maxTimeoutMs, maxTimeoutMs)
  const end = endOfCall(stream, timeoutMs)
  // An unhandled error would end the process; the stream closes after it.
  stream.on('error', () => {})
  const served = new ServedCall(method, headers, contextValues(headers, stream.session), end.signal, timeoutMs)
  try {
    requestGate(served)
    if (timeout.error) throw timeout.error
    served.message = parse(method, await readBody(stream, readMaxBytes, end.signal))
    const { body } = (await call(served)) as HandledResponse
    end.responded()
    respond(stream, served, 200, contentTypeUnaryProto, body)
  } catch (thrown) {
    end.failed(thrown)
    const error = thrown instanceof ConnectError ? thrown : new ConnectError('Internal error.', Code.Internal)
    // The metadata of a wire error are the headers of another call.
    if (!error.isWireError) mergeNonProtocolHeaders(served.responseHeader, error.metadata)
    respond(stream, served, codeToHttpStatus(error.code), contentTypeUnaryJson, errorToJsonBytes(error, undefined))
  }
}

/** Aborts the signal of a call at its deadline, when it fails, or when its stream closes before the response. */
function endOfCall(stream: ServerHttp2Stream, timeoutMs: number) {
  const end = new AbortController()
  const expire = () => end.abort(deadlineExceeded())
  const timer = setTimeout(expire, timeoutMs)
  if (timeoutMs === 0) expire()
  let hasResponded = false
  stream.once('close', () => {
    if (!hasResponded) end.abort(callerCanceled())
  })
  function responded(): void {
    clearTimeout(timer)
    hasResponded = true
  }
  return {
    signal: end.signal,
    responded,
    failed(error: unknown): void {
      responded()
      end.abort(error)
    }
  }
}

function respond(stream: ServerHttp2Stream, served: ServedCall, status: number, type: string, body: Uint8Array): void {
  // `respond` throws on a stream that the peer has reset.
  if (stream.destroyed || stream.closed) return
  stream.respond({ ...served.responseHeaders(), ':status': status, 'content-type': type })
  stream.end(body)
}

function parse(method: DescMethodUnary, body: Buffer): UnaryRequest['message'] {
  try {
    return fromBinary(method.input, body)
  } catch (error) {
    throw ConnectError.from(error, Code.InvalidArgument)
  }
}
