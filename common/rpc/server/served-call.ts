/** The request and response of a unary call on its HTTP/2 stream, as interceptors and handlers see them. */

import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import { type DescMethodUnary, toBinary } from '@bufbuild/protobuf'
import type { ContextValues, HandlerContext, UnaryRequest, UnaryResponse } from '@connectrpc/connect'
import { trailerMux } from '@connectrpc/connect/protocol-connect'
import { webHeaders } from '#common/rpc/unary-exchange.ts'

/** The request and its handler's context in one object. Web headers are created when they are first used. */
export class ServedCall implements Omit<UnaryRequest, 'message'>, Omit<HandlerContext, 'method'> {
  readonly stream = false
  readonly requestMethod = 'POST'
  readonly protocolName = 'connect'
  readonly method: DescMethodUnary
  readonly signal: AbortSignal
  readonly values: ContextValues
  // Set once it has been read.
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

  /** The response headers that were set, trailers included. */
  responseHeaders(): OutgoingHttpHeaders {
    if (!this.#response && !this.#trailer) return {}
    return Object.fromEntries(trailerMux(this.responseHeader, this.responseTrailer))
  }
}

/** A handler's response. The constructor encodes it, inside the interceptors, so that an encoding error is logged. */
export class HandledResponse implements UnaryResponse {
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
