/**
 * Unary methods of the Connect protocol in binary, answered directly on the HTTP/2 stream: what the services call each
 * other by. connect-fastify answers every other call; rpc-unary-client.ts states what the direct way saves.
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
import { HandledResponse, ServedCall } from './served-call.ts'

/** What the direct way shares with connect-fastify. */
export interface UnaryServerOptions {
  interceptors: Interceptor[]
  /** Refuses a call before its message is read, by throwing. */
  requestGate: (
    call: Omit<HandlerContext, 'method'> & { method: DescMethod },
    authorization: string | undefined
  ) => void
  contextValues: (headers: IncomingHttpHeaders) => ContextValues
  readMaxBytes: number
  /** Milliseconds: the deadline of a call that has none or a longer one. */
  maxTimeoutMs: number
}

/** The unary methods of a server. */
export interface UnaryServer {
  /** Registers what is routed here as well as at the given router. */
  registering(router: ConnectRouter): ConnectRouter
  isUnary(path: string): boolean
  /** @returns whether the call is answered here; otherwise nothing has happened to its stream */
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
      // Messages are short, so a caller that accepts compressed ones gets them as they are.
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
  const end = new AbortController()
  const timeout = parseTimeout((headers['connect-timeout-ms'] as string | undefined) ?? null, Number.POSITIVE_INFINITY)
  const timeoutMs = Math.min(timeout.timeoutMs ?? maxTimeoutMs, maxTimeoutMs)
  const expire = () => end.abort(deadlineExceeded())
  const timer = setTimeout(expire, timeoutMs)
  if (timeoutMs === 0) expire()
  let isAnswered = false
  stream.once('close', () => {
    if (!isAnswered) end.abort(callerCanceled())
  })
  // Without a listener the process would end; the stream closes after it.
  stream.on('error', () => {})
  const served = new ServedCall(method, headers, contextValues(headers), end.signal, timeoutMs)
  let status = 200
  let body: Uint8Array
  try {
    requestGate(served, headers.authorization)
    if (timeout.error) throw timeout.error
    served.message = parse(method, await readBody(stream, readMaxBytes, end.signal))
    const response = await call(served)
    body = (response as HandledResponse).body
  } catch (thrown) {
    end.abort(thrown)
    const error = thrown instanceof ConnectError ? thrown : new ConnectError('Internal error.', Code.Internal)
    status = codeToHttpStatus(error.code)
    // Headers of an error that came over the wire are those of another call.
    if (!error.isWireError) mergeNonProtocolHeaders(served.responseHeader, error.metadata)
    body = errorToJsonBytes(error, undefined)
  }
  clearTimeout(timer)
  isAnswered = true
  // A response to a stream that its peer has reset would throw.
  if (stream.destroyed || stream.closed) return
  const type = status === 200 ? contentTypeUnaryProto : contentTypeUnaryJson
  stream.respond({ ...served.sentHeaders(), ':status': status, 'content-type': type })
  stream.end(body)
}

function parse(method: DescMethodUnary, body: Buffer): UnaryRequest['message'] {
  try {
    return fromBinary(method.input, body)
  } catch (error) {
    throw ConnectError.from(error, Code.InvalidArgument)
  }
}
