/** The service credential: every RPC needs it, except those of the open services. */

import { hash, timingSafeEqual } from 'node:crypto'
import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect'
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

const digest = (text: string) => hash('sha256', text, 'buffer')

/** A response header of a health check whose credential this service rejects. */
export const rejectedHeader = 'credential-rejected'

/** The reason for that in `/readyz?verbose` and the log, after the name of the service. */
export const credentialRejected = 'rejects the credential `rpc.token` of this service'

/** Compares the header `authorization` with all accepted tokens, as digests in constant time, so that the time reveals nothing. */
export function credentialCheck(acceptedTokens: string[]): (authorization: string | undefined) => boolean {
  const accepted = acceptedTokens.filter((token) => token !== '').map((token) => digest(`Bearer ${token}`))
  return (authorization) => {
    // The scheme is case-insensitive (RFC 9110, 11.1).
    const presented = digest((authorization ?? '').replace(/^bearer +/i, 'Bearer '))
    return accepted.map((token) => timingSafeEqual(token, presented)).includes(true)
  }
}

/**
 * Rejects calls without an accepted credential before their message is read. A health check needs none; if it carries a
 * rejected one, a response header reports that, so that readiness of the caller fails before its first call.
 *
 * @throws ConnectError `unauthenticated`
 */
export function requireCredential(isAccepted: ReturnType<typeof credentialCheck>) {
  return (call: Pick<HandlerContext, 'service' | 'responseHeader'>, authorization: string | undefined): void => {
    if (!isOpenService(call.service.typeName)) {
      if (isAccepted(authorization)) return
      throw new ConnectError('This call needs the header `authorization: Bearer <rpc.token>`.', Code.Unauthenticated)
    }
    if (call.service === Health && authorization !== undefined && !isAccepted(authorization)) {
      call.responseHeader.set(rejectedHeader, 'true')
    }
  }
}
