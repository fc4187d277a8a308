/**
 * @fastify/cors, and protection against cross-site request forgery: `gateway.origins` is the list of origins whose pages may
 * call the gateway with credentials.
 *
 * @see https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html#fetch-metadata-headers
 */

import type { IncomingHttpHeaders } from 'node:http'
import cors from '@fastify/cors'
import type { FastifyInstance, FastifyRequest, onRequestHookHandler, preHandlerHookHandler } from 'fastify'
import { isLoopbackHost } from '../loopback.ts'
import { HttpRefusal } from '../problem.ts'
import { deviceHeader } from './device-token.ts'
import { isByCookie } from './session-check.ts'

/** The headers of responses that a page of another origin may read. */
const exposedHeaders = [
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'WWW-Authenticate',
  'X-Request-Id',
  'traceparent',
  'X-User-Id',
  'X-Session-Id',
  deviceHeader
]
const preflightMaxAgeSeconds = 600

/** Answers preflights, and lets pages of the listed origins read responses, errors included. Other origins get no CORS header. */
export async function answerCors(app: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return
  const listed = new Set<string | undefined>(origins)
  await app.register(cors, {
    origin: (origin, answer) => answer(null, listed.has(origin) ? (origin as string) : false),
    credentials: true,
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'],
    exposedHeaders,
    maxAge: preflightMaxAgeSeconds,
    // The plugin answers an incomplete preflight in plain text.
    strictPreflight: false
  })
}

const safeMethods = new Set(['GET', 'HEAD'])

/**
 * Adds hooks to the routes that are registered later: they reject state-changing requests of foreign pages that a cookie
 * authenticates, and logins of foreign pages that set it.
 */
export function rejectCrossOrigin(app: FastifyInstance, origins: readonly string[]): void {
  const listed = new Set(origins)
  const rejectForeign = (request: FastifyRequest, isWithCookie: boolean) =>
    isWithCookie && isForeign(request.headers, listed) ? new HttpRefusal(403) : undefined

  const checkCookie: onRequestHookHandler = (request, _reply, done) => done(rejectForeign(request, isByCookie(request)))
  const checkBody: preHandlerHookHandler = (request, _reply, done) => {
    const { cookie } = request.body as { cookie?: boolean }
    done(rejectForeign(request, cookie === true))
  }
  app.addHook('onRoute', (route) => {
    if (safeMethods.has(String(route.method))) return
    route.onRequest = [checkCookie, ...[route.onRequest ?? []].flat()]
    if (route.schema?.body !== undefined) route.preHandler = [checkBody, ...[route.preHandler ?? []].flat()]
  })
}

/**
 * Whether a page of an origin that is neither the gateway's own nor listed sent a request. Browsers send `Sec-Fetch-Site` to
 * secure origins, and `Origin` with each request that is not GET or HEAD. A request with neither is of no browser.
 */
function isForeign({ origin, host, 'sec-fetch-site': site }: IncomingHttpHeaders, listed: Set<string>): boolean {
  if (origin !== undefined && listed.has(origin)) return false
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  return origin !== undefined && !isOwn(origin, host)
}

/**
 * Whether an origin is the gateway's own, for browsers without `Sec-Fetch-Site`. The gateway does not see the scheme behind
 * a proxy that terminates TLS. It is `https`, because browsers send the cookie to secure origins only, or `http` of the
 * same machine.
 */
function isOwn(origin: string, host = ''): boolean {
  return origin === `https://${host}` || (origin === `http://${host}` && isLoopbackHost(host.replace(/:\d+$/, '')))
}

/** Whether a text is an origin as browsers send it: scheme, host and a port other than the default. */
export function isOrigin(text: string): boolean {
  return /^https?:\/\/[^*]+$/.test(text) && URL.parse(text)?.origin === text
}
