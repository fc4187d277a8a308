/** The metrics registry of a process, and the metrics that every service has. */

import type { DescMethod, DescService } from '@bufbuild/protobuf'
import { Code, type ConnectError } from '@connectrpc/connect'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client'
import { codeName } from '#common/errors/codes.ts'
import { version } from '#common/process/version.ts'
import type { BreakerState } from '#common/rpc/client/circuit-breaker.ts'

/** From 1 ms, since a validation takes about that, to the longest budget of a route. */
export const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

// A look costs as much as a small request; twenty a second tell of a lag of 200 ms as well as a hundred.
const lagPrecisionMs = 50
// Nothing looks closer than at a second.
const utilizationMs = 1000

/** A registry with the process's own figures and `build_info`. */
export function createRegistry(service: string): Registry {
  const registry = new Registry()
  collectDefaultMetrics({
    register: registry,
    eventLoopMonitoringPrecision: lagPrecisionMs,
    eventLoopUtilizationTimeout: utilizationMs
  })
  new Gauge({
    name: 'build_info',
    help: 'Version of the service and of Node.js; always 1',
    labelNames: ['service', 'version', 'node'],
    registers: [registry]
  }).set({ service, version, node: process.versions.node }, 1)
  return registry
}

/** Counts RPCs and times them, on the serving or on the calling side. */
export interface RpcMetrics {
  /** Makes the series of the services' methods appear at zero. */
  announce(...services: DescService[]): void
  observe(method: DescMethod, error: ConnectError | undefined, seconds: number): void
}

/** The metrics `grpc_<side>_handled_total` and `grpc_<side>_handling_seconds`, named as the gRPC ecosystem does. */
export function rpcMetrics(registry: Registry, side: 'server' | 'client'): RpcMetrics {
  const labelNames = ['grpc_service', 'grpc_method', 'grpc_code'] as const
  const handled = new Counter({
    name: `grpc_${side}_handled_total`,
    help: `RPCs completed on the ${side}, by code`,
    labelNames,
    registers: [registry]
  })
  const handling = new Histogram({
    name: `grpc_${side}_handling_seconds`,
    help: `Time of an RPC on the ${side}`,
    labelNames: ['grpc_service', 'grpc_method'] as const,
    buckets: latencyBuckets,
    registers: [registry]
  })
  const labels = (method: DescMethod) => ({ grpc_service: method.parent.typeName, grpc_method: method.name })
  return {
    announce(...services) {
      for (const method of services.flatMap((service) => service.methods)) {
        for (const code of ['ok', codeName(Code.Unavailable), codeName(Code.DeadlineExceeded)]) {
          handled.inc({ ...labels(method), grpc_code: code }, 0)
        }
        handling.zero(labels(method))
      }
    },
    observe(method, error, seconds) {
      handled.inc({ ...labels(method), grpc_code: error ? codeName(error.code) : 'ok' })
      handling.observe(labels(method), seconds)
    }
  }
}

/** The metrics of calls to other services: `grpc_client_*`, and what becomes of calls that an upstream does not answer. */
export interface RpcClientMetrics extends RpcMetrics {
  breaker(upstream: string, state: BreakerState): void
  refused(upstream: string): void
  retried(upstream: string, count?: number): void
  overloaded(upstream: string, count?: number): void
}

const breakerValues: Record<BreakerState, number> = { closed: 0, 'half-open': 0.5, open: 1 }

export function rpcClientMetrics(registry: Registry): RpcClientMetrics {
  const labelNames = ['upstream'] as const
  const registers = [registry]
  const breaker = new Gauge({
    name: 'rpc_client_breaker_state',
    help: 'Breaker of an upstream: 0 closed, 0.5 half-open, 1 open',
    labelNames,
    registers
  })
  const refused = new Counter({
    name: 'rpc_client_breaker_refused_total',
    help: 'Calls that were refused because the upstream gives no sign of life',
    labelNames,
    registers
  })
  const retries = new Counter({
    name: 'rpc_client_retries_total',
    help: 'Calls that were made again because they had certainly not been done',
    labelNames,
    registers
  })
  const overloads = new Counter({
    name: 'rpc_client_overload_refused_total',
    help: 'Calls that were refused because the upstream has just refused one because of overload',
    labelNames,
    registers
  })
  return {
    ...rpcMetrics(registry, 'client'),
    breaker(upstream, state) {
      breaker.set({ upstream }, breakerValues[state])
      refused.inc({ upstream }, 0)
    },
    refused: (upstream) => refused.inc({ upstream }),
    retried: (upstream, count = 1) => retries.inc({ upstream }, count),
    overloaded: (upstream, count = 1) => overloads.inc({ upstream }, count)
  }
}
