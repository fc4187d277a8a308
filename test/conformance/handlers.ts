/** connectrpc.conformance.v1.ConformanceService: the request defines its response, which echoes the request. */

import { setTimeout as sleep } from 'node:timers/promises'
import { create, type DescService, type Message } from '@bufbuild/protobuf'
import { anyPack } from '@bufbuild/protobuf/wkt'
import { ConnectError, type ConnectRouter, type HandlerContext, type ServiceImpl } from '@connectrpc/connect'
import type { Defined, ErrorDefinition, Header, Messages, StreamDefinition, UnaryDefinition } from './messages.ts'

/** The deadline that the server adds to a unary call without one; the client has sent every shorter one. */
export const serverTimeoutMs = 600_000
const longestTimeoutMs = serverTimeoutMs / 2

export function conformanceRoutes(router: ConnectRouter, messages: Messages): void {
  const { unary, clientStream, serverStream, bidiStream } = handlers(messages)
  router.service(messages.service, {
    unary: unary('UnaryResponse'),
    idempotentUnary: unary('IdempotentUnaryResponse'),
    clientStream,
    serverStream,
    bidiStream
  } as unknown as Partial<ServiceImpl<DescService>>)
}

function handlers({ message }: Messages) {
  /** What the server has seen of the call. */
  function requestInfo(context: HandlerContext, requests: Message[], withHeaders = true): Message {
    const query = context.requestMethod === 'GET' ? [...new URL(context.url).searchParams] : []
    const connectGetInfo = { queryParams: query.map(([name, value]) => ({ name, value: [value] })) }
    const timeoutMs = context.timeoutMs() ?? serverTimeoutMs
    return create(message('ConformancePayload.RequestInfo'), {
      requests: requests.map((request) => anyPack(schemaOf(request), request)),
      ...(withHeaders && {
        requestHeaders: [...context.requestHeader].map(([name, value]) => ({ name, value: value.split(/, ?/) })),
        ...(timeoutMs < longestTimeoutMs && { timeoutMs: BigInt(Math.round(timeoutMs)) }),
        ...(query.length > 0 && { connectGetInfo })
      })
    } as Record<string, unknown>)
  }

  function schemaOf({ $typeName }: Message) {
    return message($typeName.replace('connectrpc.conformance.v1.', ''))
  }

  function payload(response: string, data: Uint8Array | undefined, info: Message | undefined): Message {
    const content = { ...(data && { data }), ...(info && { requestInfo: info }) }
    return create(message(response), { payload: content } as Record<string, unknown>)
  }

  function errorOf({ code, message: text = '', details }: ErrorDefinition, info: Message | undefined): ConnectError {
    const all = info ? [...details, anyPack(schemaOf(info), info)] : details
    const error = new ConnectError(text, code)
    error.details = all.map(({ typeUrl, value }) => ({ type: typeUrl.slice(typeUrl.lastIndexOf('/') + 1), value }))
    return error
  }

  async function respondOnce(
    response: string,
    definition: UnaryDefinition | undefined,
    requests: Message[],
    context: HandlerContext
  ): Promise<Message> {
    addHeaders(definition, context)
    const info = requestInfo(context, requests)
    await sleep(definition?.responseDelayMs ?? 0)
    const defined = definition?.response
    if (defined?.case === 'error') throw errorOf(defined.value, info)
    return payload(response, defined?.case === 'responseData' ? defined.value : undefined, info)
  }

  async function* serverStream(request: Defined<StreamDefinition>, context: HandlerContext) {
    yield* responses('ServerStreamResponse', request.responseDefinition, [request], context)
  }

  async function* responses(
    response: string,
    definition: StreamDefinition | undefined,
    requests: Message[],
    context: HandlerContext
  ) {
    addHeaders(definition, context)
    const info = requestInfo(context, requests)
    for (const [index, data] of (definition?.responseData ?? []).entries()) {
      await sleep(definition?.responseDelayMs ?? 0)
      yield payload(response, data, index === 0 ? info : undefined)
    }
    if (definition?.error) throw errorOf(definition.error, definition.responseData.length === 0 ? info : undefined)
  }

  /** One response for each request; those that are left follow the last request. */
  async function* bidiStream(requests: AsyncIterable<Defined<StreamDefinition>>, context: HandlerContext) {
    let definition: StreamDefinition | undefined
    let isFullDuplex = false
    let sent = 0
    let received: Message[] = []
    for await (const request of requests) {
      if (definition === undefined && received.length === 0 && sent === 0) {
        definition = request.responseDefinition
        isFullDuplex = request.fullDuplex ?? false
        if (isFullDuplex) addHeaders(definition, context)
      }
      received.push(request)
      if (!isFullDuplex) continue
      const data = definition?.responseData[sent]
      if (data === undefined) break
      await sleep(definition?.responseDelayMs ?? 0)
      yield payload('BidiStreamResponse', data, requestInfo(context, received, sent === 0))
      sent += 1
      received = []
    }
    if (!isFullDuplex) {
      yield* responses('BidiStreamResponse', definition, received, context)
      return
    }
    for (const data of definition?.responseData.slice(sent) ?? []) {
      await sleep(definition?.responseDelayMs ?? 0)
      yield payload('BidiStreamResponse', data, undefined)
      sent += 1
    }
    if (definition?.error) throw errorOf(definition.error, sent === 0 ? requestInfo(context, received) : undefined)
  }

  return {
    unary: (response: string) => (request: Defined<UnaryDefinition>, context: HandlerContext) =>
      respondOnce(response, request.responseDefinition, [request], context),
    async clientStream(requests: AsyncIterable<Defined<UnaryDefinition>>, context: HandlerContext) {
      const all: Defined<UnaryDefinition>[] = []
      for await (const request of requests) all.push(request)
      return respondOnce('ClientStreamResponse', all[0]?.responseDefinition, all, context)
    },
    serverStream,
    bidiStream
  }
}

function addHeaders(
  definition: Pick<UnaryDefinition, 'responseHeaders' | 'responseTrailers'> | undefined,
  context: HandlerContext
): void {
  const add = (to: Headers, headers: Header[] = []) => {
    for (const { name, value } of headers) for (const each of value) to.append(name, each)
  }
  add(context.responseHeader, definition?.responseHeaders)
  add(context.responseTrailer, definition?.responseTrailers)
}
