/** The service credential: every RPC needs it, except where a service is named as open. Denied by default. */

import { createHash, timingSafeEqual } from 'node:crypto'
import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect'

const openServices = new Set([
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection'
])

/** Whether a service may be called without the credential: health and reflection. */
export function isOpenService(typeName: string): boolean {
  return openServices.has(typeName)
}

const digest = (text: string) => createHash('sha256').update(text).digest()

/**
 * Refuses calls without one of the accepted tokens, before their message is read.
 * Compared as digests in constant time, all of them, so that time tells nothing.
 *
 * @throws ConnectError `unauthenticated`
 */
export function requireCredential(acceptedTokens: string[]): (context: HandlerContext) => void {
  const accepted = acceptedTokens.filter((token) => token !== '').map((token) => digest(`Bearer ${token}`))
  return (context) => {
    if (isOpenService(context.service.typeName)) return
    // The scheme is case-insensitive (RFC 9110, 11.1).
    const presented = digest((context.requestHeader.get('authorization') ?? '').replace(/^bearer +/i, 'Bearer '))
    const matches = accepted.map((token) => timingSafeEqual(token, presented))
    if (!matches.includes(true)) {
      throw new ConnectError('This call needs the header `authorization: Bearer <rpc.token>`.', Code.Unauthenticated)
    }
  }
}
