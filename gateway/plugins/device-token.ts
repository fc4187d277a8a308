/**
 * The device token of a client, which user-svc issues with a session and which gives a known device its own share of
 * password checks: read from a header or a cookie, and delivered in the same way as the session token.
 */

import { Code, ConnectError } from '@connectrpc/connect'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { networkOf } from '#common/network/addresses.ts'
import type { ClientClass } from '#common/rpc/client/overload.ts'
import type { Client } from '#gen/user/v1/user_pb.ts'
import type { ClientOf } from '../client-address.ts'
import { clearCookie, cookieReader, setCookie } from './session-cookie.ts'

/** The header of a client that keeps its session token itself, in both directions. */
export const deviceHeader = 'X-Device-Token'
export const deviceCookieName = '__Host-device'

const headerName = 'x-device-token'
// As long as the token is valid, and as long as browsers keep a cookie (RFC 6265bis, 5.6.2).
const maxAgeSeconds = 400 * 86_400
// A longer value is no device token.
const maxLength = 512
const deviceCookieValues = cookieReader(deviceCookieName)

/** The device token of a request. The header wins over the cookie; of two different cookies, none is used. */
export function deviceTokenOf(request: Pick<FastifyRequest, 'headers'>): string | undefined {
  const [value, second] = deviceCookieValues(request)
  const token = request.headers[headerName] ?? (second === undefined ? value : undefined)
  return typeof token === 'string' && token !== '' && token.length <= maxLength ? token : undefined
}

/** Sends a device token, if user-svc has issued one, as a cookie or in the header. */
export function deliverDevice(
  { deviceToken }: { deviceToken?: string | undefined },
  { reply, asCookie }: { reply: FastifyReply; asCookie: boolean }
): void {
  if (!deviceToken) return
  if (asCookie) setCookie(reply, deviceCookieName, deviceToken, { maxAge: maxAgeSeconds })
  else reply.header(headerName, deviceToken)
}

/** Clears the cookie of a device whose account has been deleted. */
export function clearDevice(request: FastifyRequest, reply: FastifyReply): void {
  if (deviceCookieValues(request).length > 0) clearCookie(reply, deviceCookieName)
}

const rejectionSlot = Symbol('rejection')
type LimitedRequest = FastifyRequest & { [rejectionSlot]?: () => ConnectError }

/**
 * Marks a request whose network is over its limit: user-svc admits it only by a valid device token.
 *
 * @param rejection the error of the response if user-svc does not admit it
 */
export function requireDevice(request: LimitedRequest, rejection: () => ConnectError): void {
  request[rejectionSlot] = rejection
}

/** The error of a request: that of its limit if user-svc has not admitted it. */
export function limitErrorOf(request: LimitedRequest, error: unknown): unknown {
  const isRejected = error instanceof ConnectError && error.code === Code.ResourceExhausted
  return (isRejected && request[rejectionSlot]?.()) || error
}

/** The client whose calls user-svc sheds together: a device, or the clients of a network that have no device token. */
export const clientClass: ClientClass = ({ client }: { client?: Partial<Client> | undefined }) =>
  client === undefined ? '' : `${client.network} ${client.deviceToken ?? ''}`

/** The field `client` of a request to user-svc. */
export interface DescribedClient {
  client: { network?: string; deviceToken?: string; deviceRequired?: boolean }
}
export type DescribeClient = (request: FastifyRequest) => DescribedClient

/** @returns a function that describes the client of a request: its network and its device token. Neither is logged. */
export function clientDescriber(clientOf: ClientOf): DescribeClient {
  return (request: LimitedRequest) => {
    const address = clientOf(request.raw)
    const deviceToken = deviceTokenOf(request)
    return {
      client: {
        ...(address !== undefined && { network: networkOf(address) }),
        ...(deviceToken !== undefined && { deviceToken }),
        ...(request[rejectionSlot] && { deviceRequired: true })
      }
    }
  }
}
