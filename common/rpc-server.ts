/** Serves RPCs over HTTP/2 cleartext as gRPC, gRPC-Web and Connect, with health and reflection beside them. */

import type { Http2Server, Http2Session, ServerHttp2Stream } from 'node:http2'
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
import { affordableConnections, boundConnections } from './descriptors.ts'
import { healthRoutes } from './health.ts'
import { listenOnEveryAddress } from './listen.ts'
import { type Logger, tracedLogger } from './logger.ts'
import { rpcMetrics } from './metrics.ts'
import type { Readiness } from './readiness.ts'
import { reflectionRoutes } from './reflection.ts'
import { replaceBrokenAuthority } from './rpc-authority.ts'
import { lineKey, logKey, traceKey } from './rpc-context.ts'
import { credentialCheck, requireCredential } from './rpc-credential.ts'
import { capDeadline } from './rpc-deadline.ts'
import { endAnswerWithMessage } from './rpc-frames.ts'
import { observe, recordCall } from './rpc-observe.ts'
import { guardPeers, unlimitedResets } from './rpc-peers.ts'
import { continueTrace } from './trace.ts'

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

  const app = Fastify({
    http2: true,
    // Fastify passes `http` to http2.createServer too, which its types do not say.
    ...({ http: unlimitedResets } as object),
    bodyLimit: rpc.maxMessageBytes,
    forceCloseConnections: false,
    // What was accepted before the GOAWAY is done.
    return503OnClosing: false
  })
  app.addHook('onRequest', (request, reply, done) => {
    if (!admits(request.raw)) return void reply.hijack()
    replaceBrokenAuthority(request.raw.headers)
    capDeadline(request.raw.headers, rpc.maxTimeout)
    done()
  })
  app.setNotFoundHandler((request, reply) => {
    // A gRPC client wants its status in headers; others read the HTTP status, which means `unimplemented` to Connect too.
    const grpc = String(request.headers['content-type']).startsWith('application/grpc')
    if (grpc) reply.code(200).headers({ 'content-type': 'application/grpc', 'grpc-status': '12' }).send()
    else reply.code(404).send({ code: 'unimplemented', message: 'There is no such method.' })
  })
  app.register(fastifyConnectPlugin, {
    readMaxBytes: rpc.maxMessageBytes,
    // A field that is misspelt in JSON is refused, not dropped in silence.
    jsonOptions: { ignoreUnknownFields: false },
    contextValues: (request) => {
      const trace = continueTrace(request.headers.traceparent as string | undefined)
      return createContextValues().set(traceKey, trace).set(logKey, tracedLogger(log, trace)).set(lineKey, {})
    },
    requestGate: (context: HandlerContext) => {
      try {
        requireToken(context)
      } catch (error) {
        recordCall(context.values.get(logKey) ?? log, metrics, context.method, error as ConnectError, performance.now())
        throw error
      }
    },
    interceptors: [observe(log, metrics, rpc.maxTimeout), requireNeeds(options)],
    routes(router) {
      options.routes(router, isStopping)
      healthRoutes(router, options.services, options.needs ?? (() => []), readiness, isStopping)
      if (rpc.reflection) reflectionRoutes(router, options.services, options.files)
    }
  })
  listenOnEveryAddress(app)
  boundConnections(app.server, affordableConnections(maxConnections))
  app.server.on('stream', cutUnread)
  app.server.on('stream', endAnswerWithMessage)
  app.addHook('preClose', (done) => {
    closing = true
    done()
  })
  closeSessions(app)
  return Object.assign(app, { callsUnderWay: countStreams(app.server) })
}

function requireNeeds({ services, readiness, needs = () => [] }: RpcServerOptions): Interceptor {
  return (next) => async (request) => {
    if (services.includes(request.service)) for (const name of needs(request.method)) readiness.requireUp(name)
    return next(request)
  }
}

/** @returns tells how many calls have been accepted and not answered yet */
function countStreams(server: Http2Server): () => number {
  let open = 0
  server.on('stream', (stream) => {
    open += 1
    stream.once('close', () => {
      open -= 1
    })
  })
  return () => open
}

// Long enough for the answer to leave, which goes out behind the end of the stream.
const unreadMs = 200

/**
 * A message that is refused is not read to its end. Its stream would stay open for ever, and with it the
 * session and the closing of the server, so it is cut off once it has been answered (RFC 9113, 8.1).
 */
function cutUnread(stream: ServerHttp2Stream): void {
  stream.once('finish', () => {
    if (stream.readableEnded) return
    const timer = setTimeout(() => stream.destroy(), unreadMs)
    stream.once('close', () => clearTimeout(timer))
  })
}

/** HTTP/2 sessions stay open when idle, so a closing server says GOAWAY to each and waits for its streams only. */
function closeSessions(
  app: { server: { on(event: 'session', listener: (session: Http2Session) => void): unknown } } & {
    addHook(name: 'preClose', hook: (done: () => void) => void): unknown
  }
): void {
  const open = new Set<Http2Session>()
  app.server.on('session', (session) => {
    open.add(session)
    session.once('close', () => open.delete(session))
  })
  app.addHook('preClose', (done) => {
    for (const session of open) if (!session.closed && !session.destroyed) session.close()
    done()
  })
}
