/** Serves RPCs over HTTP/2 cleartext as gRPC, gRPC-Web and Connect, with health and reflection beside them. */

import type { IncomingHttpHeaders } from 'node:http2'
import type { DescFile, DescMethod, DescService } from '@bufbuild/protobuf'
import {
  type ConnectError,
  type ConnectRouter,
  createContextValues,
  type HandlerContext,
  type Interceptor
} from '@connectrpc/connect'
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify'
import type { Registry } from '@prometheus-io/client'
import Fastify from 'fastify'
import { type Logger, tracedLogger } from '#common/logging/logger.ts'
import { rpcMetrics } from '#common/ops/metrics.ts'
import type { Readiness } from '#common/ops/readiness.ts'
import { continueTrace } from '#common/ops/trace.ts'
import { affordableConnections, boundConnections } from '#common/process/descriptors.ts'
import { listenOnEveryAddress } from '#common/process/listen.ts'
import { lineKey, logKey, traceKey } from '#common/rpc/call-context.ts'
import { replaceBrokenAuthority } from '#common/rpc/client/authority.ts'
import { credentialCheck, requireCredential } from './credential.ts'
import { capDeadline } from './deadline-cap.ts'
import { healthRoutes } from './health.ts'
import { acceptHttp1 } from './http1.ts'
import { guardPeers, unlimitedResets } from './misbehaving-peers.ts'
import { observe, recordCall } from './observe.ts'
import { reflectionRoutes } from './reflection.ts'
import { answerFirst, boundLinger, closeSessions, countStreams, cutUnread } from './streams.ts'
import { createUnaryServer } from './unary-server.ts'

/** What the RPC server of a service is made of. */
export interface RpcServerOptions {
  log: Logger
  registry: Registry
  readiness: Readiness
  rpc: { token: string; previousToken: string; reflection: boolean; maxMessageBytes: number; maxTimeout: number }
  services: DescService[]
  /** The dependencies without which a method can do nothing: while one is known to be away it is refused at once. */
  needs?: (method: DescMethod) => readonly string[]
  files: DescFile[]
  /** `isStopping` tells streams without an end of their own when to end. */
  routes: (router: ConnectRouter, isStopping: () => boolean) => void
}

// Callers are services, a few connections each.
const maxConnections = 10_000

/** Builds the server; it listens nowhere yet. */
export function buildRpcServer(options: RpcServerOptions) {
  const { log, registry, readiness, rpc } = options
  const metrics = rpcMetrics(registry, 'server')
  metrics.announce(...options.services)
  const isAccepted = credentialCheck([rpc.token, rpc.previousToken])
  const requireToken = requireCredential(isAccepted)
  const admits = guardPeers(({ authorization }) => isAccepted(authorization))
  let closing = false
  const isStopping = () => closing || readiness.draining()

  const contextValues = (headers: IncomingHttpHeaders) => {
    const trace = continueTrace(headers.traceparent as string | undefined)
    return createContextValues().set(traceKey, trace).set(logKey, tracedLogger(log, trace)).set(lineKey, {})
  }
  const requestGate = (call: HandlerContext, authorization: string | undefined) => {
    try {
      requireToken(call, authorization)
    } catch (error) {
      recordCall(call.values.get(logKey) ?? log, metrics, call.method, error as ConnectError, performance.now())
      throw error
    }
  }
  const interceptors = [observe(log, metrics), requireNeeds(options)]
  const readMaxBytes = rpc.maxMessageBytes
  const unary = createUnaryServer({
    interceptors,
    requestGate,
    contextValues,
    readMaxBytes,
    maxTimeoutMs: rpc.maxTimeout
  })

  const app = Fastify({
    http2: true,
    // Fastify passes `http` to http2.createServer too, which its types do not say.
    ...({ http: unlimitedResets } as object),
    bodyLimit: rpc.maxMessageBytes,
    forceCloseConnections: false,
    // What was accepted before the GOAWAY is done.
    return503OnClosing: false
  })
  app.addHook('onRequest', (request, _reply, done) => {
    const { headers, url } = request.raw
    replaceBrokenAuthority(headers)
    capDeadline(headers, rpc.maxTimeout, unary.isUnary((url ?? '').split('?')[0] as string))
    done()
  })
  app.setNotFoundHandler((request, reply) => {
    // A gRPC client wants its status in headers; others read the HTTP status, which means `unimplemented` to Connect too.
    const grpc = String(request.headers['content-type']).startsWith('application/grpc')
    if (grpc) reply.code(200).headers({ 'content-type': 'application/grpc', 'grpc-status': '12' }).send()
    else reply.code(404).send({ code: 'unimplemented', message: 'There is no such method.' })
  })
  app.register(fastifyConnectPlugin, {
    readMaxBytes,
    // A field that is misspelt in JSON is refused, not dropped in silence.
    jsonOptions: { ignoreUnknownFields: false },
    contextValues: (request) => contextValues(request.headers),
    requestGate: (call) => requestGate(call, call.requestHeader.get('authorization') ?? undefined),
    interceptors,
    routes(router) {
      const both = unary.registering(router)
      options.routes(both, isStopping)
      healthRoutes(both, options.services, options.needs ?? (() => []), readiness, isStopping)
      if (rpc.reflection) reflectionRoutes(both, options.services, options.files)
    }
  })
  listenOnEveryAddress(app)
  const http1 = acceptHttp1(app.server)
  boundLinger(app.server)
  boundConnections(app.server, affordableConnections(maxConnections))
  answerFirst(app.server, (stream, headers) => {
    if (!admits({ headers, stream })) return true
    return unary.answer(stream, headers)
  })
  app.server.on('stream', cutUnread)
  app.addHook('preClose', (done) => {
    closing = true
    http1.close()
    done()
  })
  closeSessions(app)
  const streams = countStreams(app.server)
  return Object.assign(app, { callsInFlight: () => streams() + http1.underWay() })
}

function requireNeeds({ services, readiness, needs = () => [] }: RpcServerOptions): Interceptor {
  return (next) => async (request) => {
    if (services.includes(request.service)) for (const name of needs(request.method)) readiness.requireUp(name)
    return next(request)
  }
}
