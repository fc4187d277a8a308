/** The credentials of callers: every RPC needs one that permits it, except those of the open services. */

import { hash, timingSafeEqual } from 'node:crypto'
import type { DescMethod, DescService } from '@bufbuild/protobuf'
import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect'
import { callerKey, hasCredentialKey } from '#common/rpc/call-context.ts'
import { type Caller, methodName, parseCallers } from '#common/rpc/callers.ts'
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
export interface CredentialValues
  extends Record<'token' | 'previousToken' | 'adminToken' | 'previousAdminToken', string> {
  callers: readonly string[]
}

/** The callers whose credentials have keys of their own, each for whole packages. */
const packageCallers = [
  { name: 'services', keys: ['token', 'previousToken'], packages: ['user.v1', 'session.v1'] },
  { name: 'operators', keys: ['adminToken', 'previousAdminToken'], packages: ['admin.v1'] }
] as const

const packageOf = (service: DescService) => service.file.proto.package
const includes = (packages: readonly string[], method: DescMethod) => packages.includes(packageOf(method.parent))

/** Whether the calls of a service are administration, whose log lines are the audit. */
export function isAdministration(service: DescService): boolean {
  return packageOf(service) === 'admin.v1'
}

const digest = (text: string) => hash('sha256', text, 'buffer')

/** A response header of a health check whose credential this service does not know. */
export const rejectedHeader = 'credential-rejected'
/** A request header of a health check: the methods that the caller needs, separated by commas. */
export const neededHeader = 'methods-needed'
/** A response header of a health check: those of them that the caller's credential does not permit. */
export const deniedHeader = 'methods-denied'

/** The reason for a rejection in `/readyz?verbose` and the log, after the name of the service. */
export const credentialRejected =
  'rejects the credential of this service (`rpc.ownToken`, or `rpc.token` without it, or `rpc.tls.cert` without both)'

/** Finds the owner of the header `authorization`. */
export type CredentialCheck = (authorization: string | undefined) => Caller | undefined

/** Compares the header with all accepted credentials, as digests in constant time, so that the time reveals nothing. */
export function credentialCheck(values: CredentialValues): CredentialCheck {
  const ofPackages = packageCallers.flatMap(({ name, keys, packages }) =>
    keys.map((key) => ({ name, token: values[key], permits: (method: DescMethod) => includes(packages, method) }))
  )
  const accepted = [...ofPackages, ...parseCallers(values.callers)]
    .filter(({ token }) => token !== '')
    .map(({ token, ...caller }) => ({ caller, digest: digest(`Bearer ${token}`) }))
  return (authorization) => {
    // The scheme is case-insensitive (RFC 9110, 11.1).
    const presented = digest((authorization ?? '').replace(/^bearer +/i, 'Bearer '))
    const equal = accepted.map(({ digest }) => timingSafeEqual(digest, presented))
    return accepted[equal.indexOf(true)]?.caller
  }
}

/** Why a call was rejected, for the audit. */
export type RejectionReason = 'no_credential' | 'unknown_credential' | 'method_not_permitted'

type GatedCall = Pick<HandlerContext, 'service' | 'requestHeader' | 'responseHeader' | 'values'> & {
  method: DescMethod
}

/**
 * Rejects calls whose caller may not make them, before their message is read. A health check needs no credential; if it
 * carries a token or names the methods that the caller needs, a response header reports a credential that this service does
 * not know or that does not permit such a method, so that readiness of the caller fails before its first call.
 *
 * @param services the services of the server
 * @param onRejected called for each rejected credential
 * @throws ConnectError `unauthenticated` without a known credential, or `permission_denied`
 */
export function requireCredential(
  services: readonly DescService[],
  onRejected: (call: GatedCall, reason: RejectionReason, error: ConnectError | undefined) => void
) {
  const methods = new Map(
    services.flatMap((service) => service.methods.map((method) => [methodName(method), method] as const))
  )

  function reportToHealthCheck(call: GatedCall, caller: Caller | undefined): void {
    const permitted = [...methods].filter(([, method]) => caller?.permits(method))
    if (permitted.length === 0) {
      call.responseHeader.set(rejectedHeader, 'true')
      onRejected(call, rejectionReason(call, caller), undefined)
      return
    }
    const needed = new Set(call.requestHeader.get(neededHeader)?.split(','))
    // A method that this server does not have is one of a later version.
    const denied = [...methods].filter(([name, method]) => needed.has(name) && !caller?.permits(method))
    if (denied.length > 0) call.responseHeader.set(deniedHeader, denied.map(([name]) => name).join(','))
  }

  return (call: GatedCall): void => {
    const caller = call.values.get(callerKey)
    if (isOpenService(call.service.typeName)) {
      if (call.service === Health && isOfCaller(call.requestHeader)) reportToHealthCheck(call, caller)
      return
    }
    if (caller?.permits(call.method)) return
    const error = caller ? notPermitted(caller, call.method) : unauthenticated(call.method)
    onRejected(call, rejectionReason(call, caller), error)
    throw error
  }
}

/** Whether a health check is one of a caller, and not of an orchestrator. */
const isOfCaller = (header: Headers) => header.has('authorization') || header.has(neededHeader)

function rejectionReason({ values }: GatedCall, caller: Caller | undefined): RejectionReason {
  if (caller) return 'method_not_permitted'
  return values.get(hasCredentialKey) ? 'unknown_credential' : 'no_credential'
}

function notPermitted({ name }: Caller, method: DescMethod): ConnectError {
  return new ConnectError(`The caller ${name} may not call ${methodName(method)}.`, Code.PermissionDenied)
}

function unauthenticated(method: DescMethod): ConnectError {
  const { keys } = packageCallers.find(({ packages }) => includes(packages, method)) ?? packageCallers[0]
  return new ConnectError(
    `This call needs the header \`authorization: Bearer <rpc.${keys[0]}>\`, or a token or client certificate of \`rpc.callers\` that permits it.`,
    Code.Unauthenticated
  )
}
