/** The metrics registry of a process, and the metrics that all services share. */

import type { DescMethod, DescService } from '@bufbuild/protobuf'
import { Code, type ConnectError } from '@connectrpc/connect'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client'
import { codeName } from '#common/errors/codes.ts'
import { version } from '#common/process/version.ts'
import type { BreakerState } from '#common/rpc/client/circuit-breaker.ts'

/** Seconds: from 1 ms, the time of a validation, to the longest deadline of a route. */
export const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

// A sample costs as much as a small request; 20 a second suffice to measure a lag of 200 ms.
const lagSampleMs = 50
const utilizationWindowMs = 1000

/** A registry with the metrics of the process and `build_info`. */
export function createRegistry(service: string): Registry {
  const registry = new Registry()
  collectDefaultMetrics({
    register: registry,
    eventLoopMonitoringPrecision: lagSampleMs,
    eventLoopUtilizationTimeout: utilizationWindowMs
  })
  new Gauge({
    name: 'build_info',
    help: 'Version of the service and of Node.js; always 1',
    labelNames: ['service', 'version', 'node'],
    registers: [registry]
  }).set({ service, version, node: process.versions.node }, 1)
  return registry
}

/** The count and duration of RPCs, on the server or the client. */
export interface RpcMetrics {
  /** Creates the series of the services' methods, at zero. */
  initialize(...services: DescService[]): void
  observe(method: DescMethod, error: ConnectError | undefined, seconds: number): void
}

/** `grpc_<side>_handled_total` and `grpc_<side>_handling_seconds`, the names of go-grpc-middleware. */
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
    help: `Duration of RPCs on the ${side}`,
    labelNames: ['grpc_service', 'grpc_method'] as const,
    buckets: latencyBuckets,
    registers: [registry]
  })
  const labels = (method: DescMethod) => ({ grpc_service: method.parent.typeName, grpc_method: method.name })
  return {
    initialize(...services) {
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

/** The metrics of calls to other services: `grpc_client_*`, circuit breaker, retries and load shedding. */
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
    help: 'State of the circuit breaker of an upstream: 0 closed, 0.5 half-open, 1 open',
    labelNames,
    registers
  })
  const refused = new Counter({
    name: 'rpc_client_breaker_refused_total',
    help: 'Calls rejected by an open circuit breaker',
    labelNames,
    registers
  })
  const retries = new Counter({
    name: 'rpc_client_retries_total',
    help: 'Retries of calls',
    labelNames,
    registers
  })
  const overloads = new Counter({
    name: 'rpc_client_overload_refused_total',
    help: 'Calls rejected by the cooldown after an overload of the upstream',
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
