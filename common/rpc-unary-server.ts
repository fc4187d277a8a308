/**
 * Unary methods of the Connect protocol in binary, answered directly on the HTTP/2 stream: what the services call each
 * other by. connect-fastify answers every other call; rpc-unary-client.ts states what the direct way saves.
 */

import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { constants } from 'node:http2'
import {
  create,
  type DescMethod,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  toBinary
} from '@bufbuild/protobuf'
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextValues,
  type HandlerContext,
  type Interceptor,
  type UnaryRequest,
  type UnaryResponse
} from '@connectrpc/connect'
import { mergeNonProtocolHeaders } from '@connectrpc/connect/protocol'
import {
  codeToHttpStatus,
  contentTypeUnaryJson,
  contentTypeUnaryProto,
  errorToJsonBytes,
  parseTimeout,
  trailerMux
} from '@connectrpc/connect/protocol-connect'
import { deadlineExceeded } from './deadline.ts'
import { gather, intercepted, pathOf, type UnaryCall, webHeaders } from './rpc-unary-client.ts'

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
    if (!isAnswered) end.abort(new ConnectError('The caller went away.', Code.Canceled))
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

/** A request, and the context of its handler in one; web headers are created when they are read or set. */
class ServedCall implements Omit<UnaryRequest, 'message'>, Omit<HandlerContext, 'method'> {
  readonly stream = false
  readonly requestMethod = 'POST'
  readonly protocolName = 'connect'
  readonly method: DescMethodUnary
  readonly signal: AbortSignal
  readonly values: ContextValues
  // Until it has been read.
  message = undefined as unknown as UnaryRequest['message']
  readonly #headers: IncomingHttpHeaders
  readonly #endsAt: number
  #request: Headers | undefined
  #response: Headers | undefined
  #trailer: Headers | undefined

  constructor(
    method: DescMethodUnary,
    headers: IncomingHttpHeaders,
    values: ContextValues,
    signal: AbortSignal,
    timeoutMs: number
  ) {
    this.method = method
    this.signal = signal
    this.values = values
    this.#headers = headers
    this.#endsAt = performance.now() + timeoutMs
  }

  get service() {
    return this.method.parent
  }

  get url() {
    return `http://${this.#headers[':authority'] ?? 'localhost'}${this.#headers[':path']}`
  }

  get contextValues() {
    return this.values
  }

  get header() {
    this.#request ??= webHeaders(this.#headers)
    return this.#request
  }

  get requestHeader() {
    return this.header
  }

  get responseHeader() {
    this.#response ??= new Headers()
    return this.#response
  }

  get responseTrailer() {
    this.#trailer ??= new Headers()
    return this.#trailer
  }

  timeoutMs = () => Math.floor(this.#endsAt - performance.now())

  /** The headers that were set for the answer, trailers included. */
  sentHeaders(): OutgoingHttpHeaders {
    if (!this.#response && !this.#trailer) return {}
    return Object.fromEntries(trailerMux(this.responseHeader, this.responseTrailer))
  }
}

/** The message of a handler, with the headers that it set. It is encoded here, so that the log has an error of that. */
class HandledResponse implements UnaryResponse {
  readonly stream = false
  readonly message: UnaryResponse['message']
  readonly body: Uint8Array
  readonly #context: UnaryRequest & HandlerContext

  constructor(context: UnaryRequest & HandlerContext, message: UnaryResponse['message']) {
    this.message = message
    this.body = toBinary(context.method.output, message)
    this.#context = context
  }

  get service() {
    return this.#context.service
  }

  get method() {
    return this.#context.method
  }

  get header() {
    return this.#context.responseHeader
  }

  get trailer() {
    return this.#context.responseTrailer
  }
}

function parse(method: DescMethodUnary, body: Buffer): UnaryRequest['message'] {
  try {
    return fromBinary(method.input, body)
  } catch (error) {
    throw ConnectError.from(error, Code.InvalidArgument)
  }
}

/**
 * The whole message. Rejects when it is too long, or when the signal aborts before its end. The listeners are removed
 * then, for the reason that the client names.
 */
async function readBody(stream: ServerHttp2Stream, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const content = gather(maxBytes)
    function settle(): void {
      signal.removeEventListener('abort', onAbort)
      stream.off('data', onData).off('end', onEnd)
    }
    function fail(error: unknown): void {
      settle()
      stream.pause()
      reject(error)
    }
    const onAbort = () => fail(signal.reason)
    const onData = (chunk: Buffer) => {
      if (content.add(chunk)) return
      fail(new ConnectError(`The message is longer than ${maxBytes} bytes.`, Code.ResourceExhausted))
    }
    function onEnd(): void {
      // A reset ends the stream, too; `close` follows, which aborts the signal.
      if (stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return
      settle()
      resolve(content.all())
    }
    signal.addEventListener('abort', onAbort)
    stream.on('data', onData).on('end', onEnd)
  })
}
