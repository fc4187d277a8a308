/** The callers of RPCs: the methods that each may call. A method that no credential of a caller permits is denied. */

import type { DescMethod, DescService } from '@bufbuild/protobuf'
import { AdminService } from '#gen/admin/v1/admin_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'

const services: readonly DescService[] = [UserService, SessionService, AdminService]
const { method: user } = UserService
const { method: session } = SessionService

/** Sets of methods with a name. A service probes whether its own set is permitted; a new RPC is in no set by itself. */
const roles = {
  gateway: [
    user.registerAndLogin,
    user.authenticateAndLogin,
    user.logout,
    user.deleteAccount,
    user.getAccount,
    user.changePassword,
    user.requestPasswordReset,
    user.resetPassword,
    user.changeEmail,
    user.requestEmailVerification,
    user.verifyEmail,
    user.endOtherSessions,
    session.validateSessions,
    session.listSessions,
    session.deleteSession
  ],
  'user-svc': [session.createSession, session.deleteSession, session.deleteUserSessions],
  validation: [session.validateSession, session.validateSessions],
  operators: AdminService.methods
} satisfies Record<string, readonly DescMethod[]>

export type Role = keyof typeof roles
const isRole = (name: string): name is Role => Object.hasOwn(roles, name)

/** A caller whose identity is established. */
export interface Caller {
  name: string
  permits(method: DescMethod): boolean
}

/** One entry of `rpc.callers`: a caller that presents a token, or a certificate with a name. */
export interface CallerEntry extends Caller {
  /** Empty if the caller presents a certificate. */
  token: string
  /** The name as `certificateNames` writes it. */
  certificate?: string
}

/** The full name of a method, as logs and `rpc.callers` write it. */
export function methodName({ parent, name }: Pick<DescMethod, 'parent' | 'name'>): string {
  return `${parent.typeName}/${name}`
}

/** The methods of a role that a service serves. */
export function methodsOfRole(role: Role, service: DescService): DescMethod[] {
  const methods: readonly DescMethod[] = roles[role]
  return methods.filter(({ parent }) => parent === service)
}

// `services` is the owner of `rpc.token`.
const reservedNames = ['services', 'unknown']

/**
 * Parses an entry `name:token`, with the role of that name, or `name:token:permissions`: roles, methods
 * (`session.v1.SessionService/ValidateSession`) and whole services (`session.v1.SessionService/*`), separated by `+`.
 * Instead of a token, an entry may have a name of a client certificate: `cert-dns=gateway.internal`, `cert-uri=…` or
 * `cert-cn=…`, percent-encoded where it contains `:`, `,` or `%`.
 *
 * @throws Error with the mistake, without any text of the entry
 */
export function parseCaller(entry: string): CallerEntry {
  const [name = '', token = '', permissions = name, ...more] = entry.split(':')
  if (!/^[a-z][a-z0-9-]{0,31}$/.test(name) || reservedNames.includes(name)) {
    throw new Error(`has no name of 1 to 32 of a-z 0-9 - (and not ${reservedNames.join(', ')})`)
  }
  if (!/^[\x21-\x7e]+$/.test(token)) throw new Error('has no token of visible ASCII characters')
  if (more.length > 0) throw new Error('has more than the three parts name:token:permissions')
  const permitted = new Set(permissions.split('+').flatMap(permittedMethods))
  const permits = (method: DescMethod) => permitted.has(method)
  if (!token.startsWith('cert-')) return { name, token, permits }
  return { name, token: '', certificate: parseCertificateName(token), permits }
}

function parseCertificateName(text: string): string {
  const [, kind, encoded = ''] = /^cert-(cn|dns|uri)=(.+)$/.exec(text) ?? []
  if (kind === undefined)
    throw new Error('has a certificate that is none of cert-dns=, cert-uri= and cert-cn= with a name')
  try {
    const value = decodeURIComponent(encoded)
    return `${kind}=${kind === 'dns' ? value.toLowerCase() : value}`
  } catch {
    throw new Error('has the name of a certificate with a broken percent-encoding')
  }
}

function permittedMethods(permission: string): readonly DescMethod[] {
  if (isRole(permission)) return roles[permission]
  const methods = services
    .flatMap((service) => service.methods)
    .filter((method) => permission === methodName(method) || permission === `${method.parent.typeName}/*`)
  if (methods.length > 0) return methods
  throw new Error(
    `permits something that is neither a method such as ${methodName(session.validateSession)} nor one of ${Object.keys(roles).join(', ')}`
  )
}

/** The callers of `rpc.callers`. An empty entry counts as none, so that a variable can be composed of optional parts. */
export function parseCallers(entries: readonly string[]): CallerEntry[] {
  return entries.filter((entry) => entry !== '').map(parseCaller)
}
