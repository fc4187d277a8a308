/** The readiness probe of another service: its health RPC. */

import { createClient, type Transport } from '@connectrpc/connect'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'
import { type Probe, ProbeError } from './readiness.ts'

/** Asks a service for its health; an answer that it is not ready counts as down. */
export function probeHealth(transport: Transport): Probe {
  const health = createClient(Health, transport)
  return async () => {
    const { status } = await health.check({}, { timeoutMs: 2000 })
    if (status !== Status.SERVING) throw new ProbeError('answers that it is not ready')
  }
}
