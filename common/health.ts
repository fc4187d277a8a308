/** `grpc.health.v1.Health`: the readiness of a service, for gRPC clients and probes. */

import type { DescService } from '@bufbuild/protobuf'
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from '@connectrpc/connect'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'
import type { Readiness } from './readiness.ts'

const watchIntervalMs = 500

/** On the answer of a service that stops and does all its work until it has stopped. */
export const drainingHeader = 'draining'

/** Adds the health service; it answers for the server as a whole (`""`) and for each of its services. */
export function healthRoutes(
  router: ConnectRouter,
  services: DescService[],
  readiness: Readiness,
  isStopping: () => boolean
): void {
  const names = new Set(['', ...services.map((service) => service.typeName)])
  const status = () => (readiness.ready() ? Status.SERVING : Status.NOT_SERVING)
  router.service(Health, {
    check({ service }, { responseHeader }) {
      if (!names.has(service)) throw new ConnectError(`There is no service of this name here.`, Code.NotFound)
      if (readiness.draining() && !readiness.blocked()) responseHeader.set(drainingHeader, 'true')
      return { status: status() }
    },
    async *watch({ service }, { signal }) {
      let last: Status | undefined
      while (!signal.aborted && !isStopping()) {
        const now = names.has(service) ? status() : Status.SERVICE_UNKNOWN
        if (now !== last) yield { status: now }
        last = now
        await new Promise((resolve) => setTimeout(resolve, watchIntervalMs))
      }
    },
    list() {
      return { statuses: Object.fromEntries([...names].map((name) => [name, { status: status() }])) }
    }
  } satisfies ServiceImpl<typeof Health>)
}
