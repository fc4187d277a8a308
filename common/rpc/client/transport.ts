/** The transport to another service: deadlines, retries, circuit breaker, load balancing, credential, trace and metrics. */

import type { DescMethod } from '@bufbuild/protobuf'
import { ConnectError, createClient, type Interceptor, type Transport } from '@connectrpc/connect'
import { type ConnectTransportOptions, createConnectTransport } from '@connectrpc/connect-node'
import type { RpcClientMetrics, RpcMetrics } from '#common/ops/metrics.ts'
import { childSpan, newTrace, traceparent } from '#common/ops/trace.ts'
import { traceKey } from '#common/rpc/call-context.ts'
import { methodName } from '#common/rpc/callers.ts'
import { deniedHeader, neededHeader, rejectedHeader } from '#common/rpc/server/credential.ts'
import type { PemFiles } from '#common/tls/pem-source.ts'
import {
  Health,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Status
} from '#gen/grpc/health/v1/health_pb.ts'
import { createBreaker } from './circuit-breaker.ts'
import { createRpcConnection } from './http2-connection.ts'
import { guardHttp2Sessions } from './http2-guard.ts'
import { balance } from './load-balancer.ts'
import { type ClientClass, overloadCooldown } from './overload.ts'
import { createRetryBudget, isNotProcessed, retry } from './retry.ts'
import { mapErrors } from './transport-errors.ts'
import { intercepted, sendUnary, type TimedRequest, unaryOf } from './unary-client.ts'

/** The configuration of an upstream. */
interface Upstream {
  /** The service's name, for metrics. Of several instances, the second is `<name>/2`. */
  name: string
  /** One URL for each instance. */
  urls: readonly string[]
  rpc: { token: string; ownToken: string; maxMessageBytes: number; maxTimeout: number; tls?: PemFiles }
  /** The methods that this service calls: a health check reports those that the upstream denies. */
  needs?: readonly DescMethod[]
  /** The client of a call, if the upstream sheds calls by client: an overload then concerns no other client. */
  clientClass?: ClientClass
}

/** A transport that balances over the instances of a service, and a transport to each instance. */
export interface ServiceTransport extends Transport {
  instances: Transport[]
}

/**
 * Creates the transport. Every call has a deadline. Calls that may be repeated are retried within a budget. Calls avoid an
 * instance whose breaker is open; if there is no other, they fail fast, as they do for 100 ms after an overload.
 */
export function createRpcTransport(
  { name, urls, rpc, needs = [], clientClass }: Upstream,
  metrics: RpcClientMetrics
): ServiceTransport {
  guardHttp2Sessions()
  const perAttempt = [
    observed(metrics),
    mapErrors(name),
    authorized(rpc.ownToken || rpc.token, needs),
    traced,
    deadlineMargin
  ]
  const instances = urls.map((baseUrl, index) => {
    const label = urls.length > 1 ? `${name}/${index + 1}` : name
    const connection = createRpcConnection(baseUrl, rpc.tls)
    const streams = {
      httpVersion: '2',
      // The Connect protocol in binary: half the CPU of the gRPC protocol in Node.js.
      useBinaryFormat: true,
      // Within a data centre, compression costs more than it saves.
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
    const record = (isServing: boolean) => {
      serving = isServing
    }
    const breaker = createBreaker({
      // Any response closes the breaker; the status decides whether the instance is preferred. The breaker limits the time.
      probe: async () => record((await health.check({}, { timeoutMs: 3000 })).status === Status.SERVING),
      reconnect: () => connection.renew(),
      onStateChange: (state) => metrics.breaker(label, state),
      onReject: () => metrics.refused(label)
    })
    metrics.breaker(label, breaker.state())
    const interceptors = [breaker.intercept, recordHealth(record), ...perAttempt]
    const call = intercepted(send, interceptors)
    return { breaker, call, transport: transport(interceptors), isServing: () => serving }
  })
  metrics.retried(name, 0)
  metrics.overloaded(name, 0)
  const cooldown = overloadCooldown(() => metrics.overloaded(name), clientClass)
  const retries = retry(createRetryBudget(), () => metrics.retried(name))
  const { choose, call } = balance(instances)
  return {
    unary: unaryOf(intercepted(call, [cooldown, retries]), urls[0] as string, rpc.maxTimeout),
    stream: (...request) => choose(request).transport.stream(...request),
    instances: instances.map((instance) => instance.transport)
  }
}

/**
 * Records the results of the health checks of readiness. An instance that rejects our credential, denies a
 * method or refuses the connection is not serving us: after a restart, it accepts connections before it is ready.
 */
function recordHealth(record: (serving: boolean) => void): Interceptor {
  return (next) => async (request) => {
    if (request.method !== Health.method.check) return next(request)
    try {
      const response = await next(request)
      const isServing = (response.message as HealthCheckResponse).status === Status.SERVING
      record(isServing && !response.header.has(rejectedHeader) && !response.header.has(deniedHeader))
      return response
    } catch (error) {
      if (isNotProcessed(error)) record(false)
      throw error
    }
  }
}

function observed(metrics: RpcMetrics): Interceptor {
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

function authorized(token: string, needs: readonly DescMethod[]): Interceptor {
  const needed = needs.map(methodName).join(',')
  return (next) => (request) => {
    // Without a token, the client certificate identifies this service.
    if (token !== '') request.header.set('authorization', `Bearer ${token}`)
    // The header distinguishes a caller without a token from an orchestrator, so it is sent even when it is empty.
    if (request.method === Health.method.check) request.header.set(neededHeader, needed)
    return next(request)
  }
}

// For the response to arrive; at most a twentieth of the remaining time.
const marginMs = 50

/** Sends the remaining time minus a margin, so that the upstream's own deadline error arrives and proves that it responds. */
const deadlineMargin: Interceptor = (next) => (request) => {
  const { endsAt = Number.POSITIVE_INFINITY } = request as Partial<TimedRequest>
  if (Number.isFinite(endsAt)) {
    const leftMs = endsAt - performance.now()
    const shortened = Math.max(1, Math.floor(leftMs - Math.min(marginMs, leftMs / 20)))
    request.header.set('connect-timeout-ms', String(shortened))
  }
  return next(request)
}

const traced: Interceptor = (next) => (request) => {
  const trace = request.contextValues.get(traceKey)
  request.header.set('traceparent', traceparent(trace ? childSpan(trace) : newTrace()))
  return next(request)
}
