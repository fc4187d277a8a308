/** Calls to another service: over one HTTP/2 connection, with the credential, the trace and a metric on each call. */

import type { Http2Session } from 'node:http2'
import { MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, type Interceptor, type Transport } from '@connectrpc/connect'
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node'
import { ErrorInfoSchema } from '#gen/google/rpc/error_details_pb.ts'
import { deadlineExceeded } from './deadline.ts'
import { unavailable } from './errors.ts'
import type { RpcMetrics } from './metrics.ts'
import { traceKey } from './rpc-context.ts'
import { childSpan, newTrace, traceparent } from './trace.ts'

/** The transport to a service. Half-open connections are found by pings; no call waits without a deadline. */
export function createRpcTransport(
  baseUrl: string,
  rpc: { token: string; maxMessageBytes: number; maxTimeout: number },
  metrics: RpcMetrics
): Transport {
  return createConnectTransport({
    baseUrl,
    httpVersion: '2',
    sessionManager: guardedSessions(baseUrl),
    // The Connect protocol in binary: half the CPU of the gRPC protocol in Node.js.
    useBinaryFormat: true,
    readMaxBytes: rpc.maxMessageBytes * 16,
    defaultTimeoutMs: rpc.maxTimeout,
    interceptors: [measured(metrics), truthful, authorized(rpc.token), traced]
  })
}

const pings = { pingIntervalMs: 2000, pingTimeoutMs: 1000, pingIdleConnection: true }

/**
 * The HTTP/2 connection to a service. When something answers there that does not speak HTTP/2, Node.js emits an
 * error on the session after connect-node has stopped to listen, which would end the process. The call that
 * it belongs to has failed by then, so nothing is lost here.
 */
function guardedSessions(baseUrl: string): Http2SessionManager {
  const manager = new Http2SessionManager(baseUrl, pings)
  const guarded = new WeakSet<Http2Session>()
  const request = manager.request.bind(manager)
  manager.request = async (...args) => {
    const stream = await request(...args)
    const { session } = stream
    if (session && !guarded.has(session)) guarded.add(session.on('error', () => {}))
    return stream
  }
  return manager
}

function measured(metrics: RpcMetrics): Interceptor {
  return (next) => async (request) => {
    const startedAt = performance.now()
    let error: ConnectError | undefined
    try {
      return await next(request)
    } catch (thrown) {
      error = ConnectError.from(thrown)
      throw error
    } finally {
      metrics.observe(request.method, error, (performance.now() - startedAt) / 1000)
    }
  }
}

/** Makes of an error what it means to the caller of the calling service. */
const truthful: Interceptor = (next) => async (request) => {
  try {
    return await next(request)
  } catch (thrown) {
    const error = ConnectError.from(thrown)
    if (request.signal.aborted) throw error
    switch (error.code) {
      // The peer died or reset the stream in mid-call, while our own caller is still there.
      case Code.Canceled:
      case Code.Aborted:
        throw request.method.idempotency === Idempotency.IDEMPOTENCY_UNKNOWN
          ? deadlineExceeded()
          : unavailable('A part of the service is not available at the moment.', 1, error)
      // Without a reason that the contract of the service defines, it is our own credential that was refused:
      // a mistake of the operator, never of the user.
      case Code.Unauthenticated:
      case Code.PermissionDenied:
        if (error.findDetails(ErrorInfoSchema).some(({ domain }) => domain === request.service.file.proto.package))
          throw error
        throw new ConnectError('Internal error.', Code.Internal, undefined, undefined, error)
      default:
        throw error
    }
  }
}

function authorized(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set('authorization', `Bearer ${token}`)
    return next(request)
  }
}

const traced: Interceptor = (next) => (request) => {
  const trace = request.contextValues.get(traceKey)
  request.header.set('traceparent', traceparent(trace ? childSpan(trace) : newTrace()))
  return next(request)
}
