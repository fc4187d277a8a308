/** The credentials of callers: every RPC needs one that permits its package, except those of the open services. */

import { hash, timingSafeEqual } from 'node:crypto'
import type { DescService } from '@bufbuild/protobuf'
import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect'
import { callerKey } from '#common/rpc/call-context.ts'
import { Health } from '#gen/grpc/health/v1/health_pb.ts'

const openServices = new Set([
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection'
])

/** Whether a service needs no credential: health and reflection. */
export function isOpenService(typeName: string): boolean {
  return openServices.has(typeName)
}

/** The values of the section `rpc` that are credentials. */
export type CredentialValues = Record<'token' | 'previousToken' | 'adminToken' | 'previousAdminToken', string>

/** Who may call what. A package that is in no row is denied. */
const permissions = [
  { caller: 'services', keys: ['token', 'previousToken'], packages: ['user.v1', 'session.v1'] },
  { caller: 'operators', keys: ['adminToken', 'previousAdminToken'], packages: ['admin.v1'] }
] as const

type Permission = (typeof permissions)[number]

const packageOf = (service: DescService) => service.file.proto.package
const permits = ({ packages }: Permission, service: DescService) =>
  (packages as readonly string[]).includes(packageOf(service))

/** Whether the calls of a service are administration, whose log lines are the audit. */
export function isAdministration(service: DescService): boolean {
  return packageOf(service) === 'admin.v1'
}

const digest = (text: string) => hash('sha256', text, 'buffer')

/** A response header of a health check whose credential this service rejects. */
export const rejectedHeader = 'credential-rejected'

/** The reason for that in `/readyz?verbose` and the log, after the name of the service. */
export const credentialRejected = 'rejects the credential `rpc.token` of this service'

/** Finds the owner of the header `authorization`. */
export type CredentialCheck = (authorization: string | undefined) => Permission | undefined

/** Compares the header with all accepted credentials, as digests in constant time, so that the time reveals nothing. */
export function credentialCheck(values: CredentialValues): CredentialCheck {
  const accepted = permissions.flatMap((permission) =>
    permission.keys
      .filter((key) => values[key] !== '')
      .map((key) => ({ permission, digest: digest(`Bearer ${values[key]}`) }))
  )
  return (authorization) => {
    // The scheme is case-insensitive (RFC 9110, 11.1).
    const presented = digest((authorization ?? '').replace(/^bearer +/i, 'Bearer '))
    const equal = accepted.map(({ digest }) => timingSafeEqual(digest, presented))
    return accepted[equal.indexOf(true)]?.permission
  }
}

/**
 * Rejects calls without a credential that permits them before their message is read. A health check needs none; if it
 * carries one that permits none of the server's services, a response header reports that, so that readiness of the caller fails before its first call.
 *
 * @param services the services of the server
 * @throws ConnectError `unauthenticated`
 */
export function requireCredential(check: CredentialCheck, services: readonly DescService[]) {
  return (
    call: Pick<HandlerContext, 'service' | 'responseHeader' | 'values'>,
    authorization: string | undefined
  ): void => {
    const owner = check(authorization)
    if (!isOpenService(call.service.typeName)) {
      // Also of a rejected call: the audit shows which credential was used.
      call.values.set(callerKey, owner?.caller)
      if (owner && permits(owner, call.service)) return
      const [key] = (permissions.find((each) => permits(each, call.service)) ?? permissions[0]).keys
      throw new ConnectError(`This call needs the header \`authorization: Bearer <rpc.${key}>\`.`, Code.Unauthenticated)
    }
    const isAccepted = owner && services.some((service) => permits(owner, service))
    if (call.service === Health && authorization !== undefined && !isAccepted) {
      call.responseHeader.set(rejectedHeader, 'true')
    }
  }
}
