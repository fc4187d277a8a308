/** `grpc.health.v1.Health`: the readiness of a service, for gRPC clients and probes. */

import type { DescMethod, DescService } from '@bufbuild/protobuf'
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from '@connectrpc/connect'
import type { Readiness } from '#common/ops/readiness.ts'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'

const watchIntervalMs = 500

/** A response header of a service that drains and still serves. */
export const drainingHeader = 'draining'

/** The health service name of a method: it serves if all dependencies that it needs are up. */
export function methodHealth({ parent, name }: DescMethod): string {
  return `${parent.typeName}/${name}`
}

/** Adds the health service, for the whole server (`""`), each service and each method. */
export function healthRoutes(
  router: ConnectRouter,
  services: DescService[],
  needs: (method: DescMethod) => readonly string[],
  readiness: Readiness,
  isStopping: () => boolean
): void {
  const names = new Set(['', ...services.map((service) => service.typeName)])
  const methods = new Map(
    services.flatMap((service) => service.methods.map((method) => [methodHealth(method), needs(method)]))
  )
  const isKnown = (service: string) => names.has(service) || methods.has(service)
  function status(service: string): Status {
    const needed = methods.get(service) ?? []
    const isUp = needed.length === 0 || readiness.states().every(({ name, up }) => up || !needed.includes(name))
    return readiness.ready() && isUp ? Status.SERVING : Status.NOT_SERVING
  }
  router.service(Health, {
    check({ service }, { responseHeader }) {
      if (!isKnown(service)) throw new ConnectError('There is no service of this name here.', Code.NotFound)
      if (readiness.draining() && !readiness.blocked()) responseHeader.set(drainingHeader, 'true')
      return { status: status(service) }
    },
    async *watch({ service }, { signal }) {
      let last: Status | undefined
      while (!signal.aborted && !isStopping()) {
        const now = isKnown(service) ? status(service) : Status.SERVICE_UNKNOWN
        if (now !== last) yield { status: now }
        last = now
        await new Promise((resolve) => setTimeout(resolve, watchIntervalMs))
      }
    },
    list() {
      return { statuses: Object.fromEntries([...names].map((name) => [name, { status: status(name) }])) }
    }
  } satisfies ServiceImpl<typeof Health>)
}
