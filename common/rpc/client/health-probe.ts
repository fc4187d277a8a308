/** The readiness probe of another service: its health RPC, asked of each of its instances. */

import { type CallOptions, createClient, type Transport } from '@connectrpc/connect'
import { type Probe, ProbeError } from '#common/ops/readiness.ts'
import { credentialRejected, rejectedHeader } from '#common/rpc/server/credential.ts'
import { drainingHeader } from '#common/rpc/server/health.ts'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'
import type { ServiceTransport } from './transport.ts'

/**
 * Resolves as soon as an instance says that it serves, or that it still does while it stops: where there is only one
 * address, the connection ends later, and the next one goes elsewhere. Of several that do not, the first says why; one that rejects the
 * credential of this service before all others, since only an operator can correct that.
 *
 * @param service the full name of what is to be served; empty for all of it
 * @throws {ProbeError} for an answer that it does not serve
 */
export async function requireServing(
  transport: Transport | ServiceTransport,
  service: string,
  options: CallOptions
): Promise<void> {
  const instances = 'instances' in transport ? transport.instances : [transport]
  const checks = instances.map(async (instance) => {
    let isDraining = false
    let isRejected = false
    const onHeader = (headers: Headers) => {
      isDraining = headers.has(drainingHeader)
      isRejected = headers.has(rejectedHeader)
    }
    const { status } = await createClient(Health, instance).check({ service }, { ...options, onHeader })
    if (isRejected) throw new ProbeError(credentialRejected, false, { blocks: true })
    if (status !== Status.SERVING && !isDraining) throw new ProbeError('answers that it is not ready')
  })
  await Promise.any(checks).catch(({ errors }: AggregateError) => {
    throw errors.find((error) => error instanceof ProbeError && error.blocks) ?? errors[0]
  })
}

/** How a probe of readiness asks. */
export const probeOptions = { timeoutMs: 2000 } satisfies CallOptions

/** Asks a service for its health; one instance that is ready is enough. */
export function probeHealth(transport: ServiceTransport): Probe {
  return () => requireServing(transport, '', probeOptions)
}
