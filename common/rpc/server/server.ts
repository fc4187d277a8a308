/** Serves RPCs over HTTP/2, with or without TLS, as gRPC, gRPC-Web and Connect, with health and reflection beside them. */

import { Http2ServerRequest } from 'node:http2'
import { createRegistry, type DescFile, type DescMethod, type DescService } from '@bufbuild/protobuf'
import { type ConnectRouter, createContextValues, type Interceptor } from '@connectrpc/connect'
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify'
import type { Registry } from '@prometheus-io/client'
import Fastify from 'fastify'
import { codeName } from '#common/errors/codes.ts'
import { type Logger, tracedLogger } from '#common/logging/logger.ts'
import { rpcMetrics } from '#common/ops/metrics.ts'
import type { Readiness } from '#common/ops/readiness.ts'
import { continueTrace } from '#common/ops/trace.ts'
import { affordableConnections, boundConnections } from '#common/process/descriptors.ts'
import { listenOnEveryAddress } from '#common/process/listen.ts'
import { callerKey, hasCredentialKey, lineKey, logKey, traceKey } from '#common/rpc/call-context.ts'
import { type Caller, methodName } from '#common/rpc/callers.ts'
import { replaceBrokenAuthority } from '#common/rpc/client/authority.ts'
import { hasTls, type ServerTls, terminateTls } from '#common/tls/termination.ts'
import { authzFailures } from './authz-failures.ts'
import { type CertificateCheck, type Connection, certificateCheck, hasCertificate } from './client-certificate.ts'
import { type CredentialCheck, type CredentialValues, credentialCheck, requireCredential } from './credential.ts'
import { capDeadline } from './deadline-cap.ts'
import { healthRoutes } from './health.ts'
import { acceptHttp1 } from './http1.ts'
import { guardPeers, unlimitedResets } from './misbehaving-peers.ts'
import { observe } from './observe.ts'
import { reflectionRoutes } from './reflection.ts'
import { closeSessions, countStreams, endUnreadRequest, handleStreamsFirst, limitLinger } from './streams.ts'
import { createUnaryServer, type UnaryServer, type UnaryServerOptions } from './unary-server.ts'

export interface RpcServerOptions {
  log: Logger
  registry: Registry
  readiness: Readiness
  rpc: CredentialValues & {
    reflection: boolean
    maxMessageBytes: number
    maxTimeout: number
    connections: { max: number; maxPerNetwork: number; maxStreams: number }
    tls?: ServerTls
  }
  services: DescService[]
  /** The dependencies that a method needs: while one is down, its calls fail fast. */
  needs?: (method: DescMethod) => readonly string[]
  files: DescFile[]
  routes: (router: ConnectRouter) => void
}

/** Builds the server without listening. */
export function buildRpcServer(options: RpcServerOptions) {
  const { rpc, readiness } = options
  const identify = identification(credentialCheck(rpc), certificateCheck(rpc.callers))
  const calls = callOptions(options, identify)
  const unary = createUnaryServer(calls)
  const app = createApp(rpc, unary)
  let isClosing = false
  const isStopping = () => isClosing || readiness.draining()
  app.register(fastifyConnectPlugin, {
    readMaxBytes: calls.readMaxBytes,
    // A misspelt field in JSON is rejected, not dropped silently. The registry is for connectconformance, whose messages have a
    // google.protobuf.Any.
    jsonOptions: { ignoreUnknownFields: false, registry: createRegistry(...options.files) },
    contextValues: ({ headers, raw }) =>
      calls.contextValues(headers, raw instanceof Http2ServerRequest ? raw.stream.session : raw.socket),
    requestGate: calls.requestGate,
    interceptors: calls.interceptors,
    routes: (router) => registerRoutes(options, unary.registering(router), isStopping)
  })
  listenOnEveryAddress(app)
  const tls = hasTls(rpc.tls) ? terminateTls(app.server, rpc.tls as ServerTls) : undefined
  const http1 = acceptHttp1(app.server)
  limitLinger(app.server)
  boundConnections(app.server, affordableConnections(rpc.connections.max), rpc.connections.maxPerNetwork)
  const admits = guardPeers(({ authorization }, session) => identify(authorization, session) !== undefined)
  handleStreamsFirst(app.server, (stream, headers) => !admits({ headers, stream }) || unary.answer(stream, headers))
  app.server.on('stream', endUnreadRequest)
  app.addHook('preClose', async () => {
    isClosing = true
    await http1.close()
    tls?.abortHandshakes()
  })
  const closeAll = closeSessions(app)
  tls?.onTrustChange(() => {
    closeAll()
    http1.closeConnections()
  })
  const streams = countStreams(app.server)
  return Object.assign(app, { callsInFlight: () => streams() + http1.inFlight() })
}

type Identification = (authorization: string | undefined, connection: Connection) => Caller | undefined

/** A call with a token is a call of its owner; a certificate identifies the caller of a call without one. */
function identification(byToken: CredentialCheck, byCertificate: CertificateCheck): Identification {
  return (authorization, connection) =>
    authorization === undefined ? byCertificate(connection) : byToken(authorization)
}

/** The context, checks and limits of a call, for all protocols. */
function callOptions(options: RpcServerOptions, identify: Identification): UnaryServerOptions {
  const { log, rpc } = options
  const metrics = rpcMetrics(options.registry, 'server')
  metrics.initialize(...options.services)
  const audit = authzFailures(options.registry)
  const requireCaller = requireCredential(options.services, ({ method, values }, reason, error) => {
    if (error) metrics.observe(method, error, 0)
    const caller = values.get(callerKey)?.name
    const code = error && codeName(error.code)
    audit(values.get(logKey) ?? log, { caller, rpc: methodName(method), ...(code && { code }), reason })
  })
  return {
    contextValues({ authorization, traceparent }, connection) {
      const trace = continueTrace(traceparent as string | undefined)
      const caller = identify(authorization, connection)
      return createContextValues()
        .set(traceKey, trace)
        .set(callerKey, caller)
        .set(hasCredentialKey, authorization !== undefined || hasCertificate(connection))
        .set(logKey, tracedLogger(log, trace, caller?.name))
        .set(lineKey, {})
    },
    requestGate: requireCaller,
    interceptors: [observe(log, metrics), requireNeeds(options)],
    readMaxBytes: rpc.maxMessageBytes,
    maxTimeoutMs: rpc.maxTimeout
  }
}

function createApp(rpc: RpcServerOptions['rpc'], unary: UnaryServer) {
  const app = Fastify({
    http2: true,
    // Fastify 5.12 also passes `http` to http2.createServer; its types do not declare it.
    ...({ http: { ...unlimitedResets, settings: { maxConcurrentStreams: rpc.connections.maxStreams } } } as object),
    bodyLimit: rpc.maxMessageBytes,
    forceCloseConnections: false,
    // Finish the calls that were accepted before the GOAWAY.
    return503OnClosing: false
  })
  app.addHook('onRequest', (request, _reply, done) => {
    const { headers, url } = request.raw
    replaceBrokenAuthority(headers)
    capDeadline(headers, rpc.maxTimeout, unary.isUnary((url ?? '').split('?')[0] as string))
    done()
  })
  app.setNotFoundHandler((request, reply) => {
    // gRPC clients read the status in the headers; other clients the HTTP status, which Connect maps to `unimplemented`.
    const [grpc] = /^application\/grpc(-web)?(?![a-z-])/.exec(String(request.headers['content-type'])) ?? []
    if (grpc) reply.code(200).headers({ 'content-type': grpc, 'grpc-status': '12' }).send()
    else reply.code(404).send({ code: 'unimplemented', message: 'There is no such method.' })
  })
  return app
}

function registerRoutes(options: RpcServerOptions, router: ConnectRouter, isStopping: () => boolean): void {
  const { services, needs = () => [], readiness } = options
  options.routes(router)
  healthRoutes(router, services, needs, readiness, isStopping)
  if (options.rpc.reflection) reflectionRoutes(router, services, options.files)
}

function requireNeeds({ services, readiness, needs = () => [] }: RpcServerOptions): Interceptor {
  return (next) => async (request) => {
    if (services.includes(request.service)) for (const name of needs(request.method)) readiness.requireUp(name)
    return next(request)
  }
}
