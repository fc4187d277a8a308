/** @fastify/cookie: the session cookie of browsers, which carries the token where no script can read it. */

import { fastifyCookie } from '@fastify/cookie'
import type { FastifyInstance, FastifyReply, FastifyRequest, onSendHookHandler } from 'fastify'

/** Browsers accept a name with this prefix only from a secure origin, for this host alone (RFC 6265bis, 4.1.3.2). */
export const cookieName = '__Host-session'
const attributes = { path: '/', secure: true, httpOnly: true, sameSite: 'lax' } as const

/** Loads the plugin in a context of its own: its hooks would parse and write cookies of every request. */
export async function loadCookies(app: FastifyInstance): Promise<void> {
  await app.register(async (scope) => void (await scope.register(fastifyCookie, { hook: false })))
}

/** @returns a function that reads the different values of a cookie: more than one is ambiguous, since their order has no meaning */
export function cookieReader(name: string): (request: Pick<FastifyRequest, 'headers'>) => string[] {
  const cookies = new RegExp(`(?:^|;)[ \\t]*${name}=([^;]*)`, 'g')
  return ({ headers: { cookie } }) => {
    if (!cookie?.includes(name)) return []
    return [...new Set([...cookie.matchAll(cookies)].map(([, value = '']) => value.trimEnd()))]
  }
}

export const sessionCookieValues = cookieReader(cookieName)

/** Adds a cookie to a response. @param more `maxAge` in seconds; without it, the cookie ends with the browser's own session */
export function setCookie(reply: FastifyReply, name: string, value: string, more: { maxAge?: number } = {}): void {
  reply.header('set-cookie', fastifyCookie.serialize(name, value, { ...attributes, ...more }))
}

export function clearCookie(reply: FastifyReply, name: string): void {
  const expired = { ...attributes, maxAge: 0, expires: new Date(0) }
  reply.header('set-cookie', fastifyCookie.serialize(name, '', expired))
}

export const clearSessionCookie = (reply: FastifyReply) => clearCookie(reply, cookieName)

/** What a response with a new session needs: the token as a cookie or in the body. */
interface NewSession {
  reply: FastifyReply
  /** Whether the client gets the token as a cookie. */
  asCookie: boolean
  /** Whether the request came with the cookie of a session that the new one replaces. */
  replacesCookie: boolean
}

/** The session of a response. In cookie mode the token is in the cookie only; otherwise a replaced cookie is cleared. */
export function deliverSession<S extends { token: string }>(
  session: S,
  { reply, asCookie, replacesCookie }: NewSession
) {
  if (asCookie) {
    setCookie(reply, cookieName, session.token)
    const { token: _, ...visible } = session
    return visible
  }
  if (replacesCookie) clearSessionCookie(reply)
  return session
}

/**
 * The hook of a route that ends the session of the request: clears the cookie after a success, and after a 401, because the
 * cookie is useless then. After an outage the cookie stays: the session may still be valid.
 */
export function clearEndedCookie(isByCookie: (request: FastifyRequest) => boolean): onSendHookHandler {
  return function clearCookie(request, reply, payload, done) {
    if ((reply.statusCode === 204 || reply.statusCode === 401) && isByCookie(request)) clearSessionCookie(reply)
    done(null, payload)
  }
}
