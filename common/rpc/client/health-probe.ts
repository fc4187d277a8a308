/** The readiness probe of another service: a health check of each of its instances. */

import { type CallOptions, createClient, type Transport } from '@connectrpc/connect'
import { type Probe, ProbeError } from '#common/ops/probe.ts'
import { credentialRejected, deniedHeader, rejectedHeader } from '#common/rpc/server/credential.ts'
import { drainingHeader } from '#common/rpc/server/health.ts'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'
import type { ServiceTransport } from './transport.ts'

/**
 * Resolves as soon as an instance reports SERVING, or that it drains: it still serves, and behind an address with several
 * instances the next connection reaches another one. If no instance does, rejects with the error of the first, or with a
 * rejected credential or a denied method, which only an operator can correct.
 *
 * @param service the full name of a service or a method; empty for the whole server
 * @throws {ProbeError} if the instances respond that they do not serve
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
    let denied: string | null = null
    const onHeader = (headers: Headers) => {
      isDraining = headers.has(drainingHeader)
      isRejected = headers.has(rejectedHeader)
      denied = headers.get(deniedHeader)
    }
    const { status } = await createClient(Health, instance).check({ service }, { ...options, onHeader })
    if (isRejected) throw new ProbeError(credentialRejected, false, { blocks: true })
    if (denied !== null) throw new ProbeError(methodsDenied(denied), false, { blocks: true })
    if (status !== Status.SERVING && !isDraining) throw new ProbeError('answers that it is not ready')
  })
  await Promise.any(checks).catch(({ errors }: AggregateError) => {
    throw errors.find((error) => error instanceof ProbeError && error.blocks) ?? errors[0]
  })
}

const methodsDenied = (methods: string) => `denies this service the methods ${methods} (\`rpc.callers\`)`

export const probeOptions = { timeoutMs: 2000 } satisfies CallOptions

/** The readiness probe of a service; one serving instance suffices. */
export function probeHealth(transport: ServiceTransport): Probe {
  return () => requireServing(transport, '', probeOptions)
}
