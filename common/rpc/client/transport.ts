/** Calls to another service: over one HTTP/2 connection, with the credential, the trace and a metric on each call. */

import { Code, ConnectError, createClient, type Interceptor, type Transport } from '@connectrpc/connect'
import { type ConnectTransportOptions, createConnectTransport } from '@connectrpc/connect-node'
import type { RpcClientMetrics, RpcMetrics } from '#common/ops/metrics.ts'
import { childSpan, newTrace, traceparent } from '#common/ops/trace.ts'
import { traceKey } from '#common/rpc/call-context.ts'
import { credentialRejected, rejectedHeader } from '#common/rpc/server/credential.ts'
import { ErrorInfoSchema } from '#gen/google/rpc/error_details_pb.ts'
import {
  Health,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Status
} from '#gen/grpc/health/v1/health_pb.ts'
import { createBreaker } from './circuit-breaker.ts'
import { createRpcConnection } from './http2-connection.ts'
import { guardHttp2Sessions } from './http2-guard.ts'
import { balance } from './load-balancer.ts'
import { overloadCooldown } from './overload.ts'
import { createRetryBudget, isNotProcessed, notProcessed, outcomeUnknown, retry } from './retry.ts'
import { intercepted, sendUnary, type TimedRequest, unaryOf } from './unary-client.ts'

/** An upstream and how it is called. */
export interface Upstream {
  /** The service's name, for metrics; of several instances, the second is `<name>/2`. */
  name: string
  /** Where its instances are. */
  urls: readonly string[]
  rpc: { token: string; maxMessageBytes: number; maxTimeout: number }
}

/** A way to call a service, and to call each instance of it, whatever becomes of the others. */
export interface ServiceTransport extends Transport {
  instances: Transport[]
}

/**
 * The transport to a service. No call waits without a deadline, half-open connections are found by pings, calls that
 * may be repeated are, within a budget, and an instance that gives no sign of life is left out: without any other,
 * calls are refused at once. So they are for a moment after the service has said that it is overloaded.
 */
export function createRpcTransport({ name, urls, rpc }: Upstream, metrics: RpcClientMetrics): ServiceTransport {
  guardHttp2Sessions()
  const perAttempt = [measured(metrics), truthful(name), authorized(rpc.token), traced, answeredInTime]
  const instances = urls.map((baseUrl, index) => {
    const label = urls.length > 1 ? `${name}/${index + 1}` : name
    const connection = createRpcConnection(baseUrl)
    const streams = {
      httpVersion: '2',
      // The Connect protocol in binary: half the CPU of the gRPC protocol in Node.js.
      useBinaryFormat: true,
      // The services are near each other: compressing would cost more than it saves.
      acceptCompression: [],
      readMaxBytes: rpc.maxMessageBytes * 16,
      defaultTimeoutMs: rpc.maxTimeout,
      baseUrl,
      sessionManager: connection
    } satisfies ConnectTransportOptions
    const send = sendUnary(connection, streams.readMaxBytes)
    const transport = (interceptors: Interceptor[]): Transport => ({
      unary: unaryOf(intercepted(send, interceptors), baseUrl, rpc.maxTimeout),
      stream: createConnectTransport({ ...streams, interceptors }).stream
    })
    const health = createClient(Health, transport([]))
    let serving = true
    const record = (answer: boolean) => {
      serving = answer
    }
    const breaker = createBreaker({
      // An upstream that is back responds, but need not be able to serve yet. The breaker has limits of its own.
      probe: async () => record((await health.check({}, { timeoutMs: 3000 })).status === Status.SERVING),
      reconnect: () => connection.renew(),
      changed: (state) => metrics.breaker(label, state),
      refused: () => metrics.refused(label)
    })
    metrics.breaker(label, breaker.state())
    const interceptors = [breaker.intercept, overheardHealth(record), ...perAttempt]
    const call = intercepted(send, interceptors)
    return { breaker, call, transport: transport(interceptors), isServing: () => serving }
  })
  metrics.retried(name, 0)
  metrics.overloaded(name, 0)
  const cooldown = overloadCooldown(() => metrics.overloaded(name))
  const retries = retry(createRetryBudget(), () => metrics.retried(name))
  const { choose, call } = balance(instances)
  return {
    unary: unaryOf(intercepted(call, [cooldown, retries]), urls[0] as string, rpc.maxTimeout),
    stream: (...request) => choose(request).transport.stream(...request),
    instances: instances.map((instance) => instance.transport)
  }
}

/** Reports the answers to the probes of readiness, once a second; an instance that rejects our credential serves others. */
function overheardHealth(record: (serving: boolean) => void): Interceptor {
  return (next) => async (request) => {
    const response = await next(request)
    if (request.method === Health.method.check) {
      const isServing = (response.message as HealthCheckResponse).status === Status.SERVING
      record(isServing && !response.header.has(rejectedHeader))
    }
    return response
  }
}

function measured(metrics: RpcMetrics): Interceptor {
  return (next) => async (request) => {
    if (request.stream) return next(request)
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

/** Translates an error into its meaning for the caller of the calling service. */
const truthful =
  (upstream: string): Interceptor =>
  (next) =>
  async (request) => {
    try {
      return await next(request)
    } catch (thrown) {
      const error = ConnectError.from(thrown)
      if (request.signal.aborted || isNotProcessed(error)) throw error
      if (isRefused(error)) throw notProcessed(error)
      if (isConnectionFailure(error)) throw outcomeUnknown(error)
      if (isUnreachable(error))
        throw new ConnectError('It cannot be reached.', Code.Unavailable, undefined, undefined, error)
      switch (error.code) {
        // The peer died or reset the stream in mid-call, while our own caller is still there.
        case Code.Canceled:
        case Code.Aborted:
          throw outcomeUnknown(error)
        // Without a reason that the contract of the service defines, it is our own credential that was refused:
        // a mistake of the operator, never of the user, and nothing was done.
        case Code.Unauthenticated:
        case Code.PermissionDenied:
          if (error.findDetails(ErrorInfoSchema).some(({ domain }) => domain === request.service.file.proto.package))
            throw error
          throw notProcessed(error, `${upstream} ${credentialRejected}.`)
        default:
          throw error
      }
    }
  }

/** A peer that says goodbye refuses the calls that it has not begun; a call after that is not sent at all. */
function isRefused(error: ConnectError): boolean {
  const { code } = (error.cause ?? {}) as { code?: string }
  return (
    /REFUSED_STREAM/.test(error.rawMessage) ||
    code === 'ERR_HTTP2_GOAWAY_SESSION' ||
    // Of a stream that the connection had not opened yet when it ended.
    code === 'ERR_HTTP2_STREAM_CANCEL' ||
    // After 2^30 streams a connection opens no more; the breaker replaces it.
    code === 'ERR_HTTP2_OUT_OF_STREAMS'
  )
}

// The errors of an HTTP/2 connection or stream that ended, and none of those that a wrong argument causes here.
const ended = /^ERR_HTTP2_(SESSION_ERROR|STREAM_ERROR|ERROR|INVALID_SESSION|INVALID_STREAM|PING_CANCEL|TOO_MANY_\w+)$/

/**
 * The connection or the stream ended without an answer, with whatever HTTP/2 error code, or it was given up because
 * nothing came any more: the call may have been done.
 */
function isConnectionFailure({ rawMessage, cause }: ConnectError): boolean {
  const { code = '', syscall } = (cause ?? {}) as NodeJS.ErrnoException
  return (
    ended.test(code) ||
    /^http\/2 stream closed with error code /.test(rawMessage) ||
    rawMessage === 'PING timed out' ||
    code === 'EPIPE' ||
    code === 'ECONNRESET' ||
    code === 'ERR_STREAM_DESTROYED' ||
    (code === 'ETIMEDOUT' && syscall !== 'connect')
  )
}

/** There is no way to the host, which connect-node knows no code for. */
function isUnreachable({ cause }: ConnectError): boolean {
  return ['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN'].includes((cause as NodeJS.ErrnoException)?.code ?? '')
}

function authorized(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set('authorization', `Bearer ${token}`)
    return next(request)
  }
}

// Enough for an answer to travel, or a twentieth of the time if that is less.
const travelMs = 50

/**
 * The callee gets a little less time than its caller waits: what it says at its end is still heard, and tells that it
 * lives. A call that is repeated gets what is left.
 */
const answeredInTime: Interceptor = (next) => (request) => {
  const { endsAt = Number.POSITIVE_INFINITY } = request as Partial<TimedRequest>
  if (Number.isFinite(endsAt)) {
    const leftMs = endsAt - performance.now()
    const shortened = Math.max(1, Math.floor(leftMs - Math.min(travelMs, leftMs / 20)))
    request.header.set('connect-timeout-ms', String(shortened))
  }
  return next(request)
}

const traced: Interceptor = (next) => (request) => {
  const trace = request.contextValues.get(traceKey)
  request.header.set('traceparent', traceparent(trace ? childSpan(trace) : newTrace()))
  return next(request)
}
