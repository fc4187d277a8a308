/**
 * Answers unknown paths with 404 and wrong methods with 405 and `Allow`, without reading the body. The 404 of `/` links to
 * the documentation (RFC 8631), if the gateway serves it.
 */

import { Code, ConnectError } from '@connectrpc/connect'
import type { FastifyInstance, FastifyRequest, HTTPMethods } from 'fastify'
import { HttpRefusal } from '../problem.ts'
import type { ErrorHandling } from './error-responses.ts'

const methods: HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

export function answerUnknownRoutes(app: FastifyInstance, { handle }: ErrorHandling): void {
  const patterns = new Set<string>()
  app.addHook('onRoute', ({ url }) => void patterns.add(url))

  /** The methods of a path. The router of Fastify finds routes by their patterns only. */
  function allowedMethods(path: string): HTTPMethods[] {
    const matching = [...patterns].filter((pattern) => matches(pattern, path))
    return methods.filter((method) => matching.some((url) => app.hasRoute({ url, method })))
  }

  function unknownRoute(request: FastifyRequest): HttpRefusal | ConnectError {
    const allowed = allowedMethods(request.url.split('?')[0] ?? '/')
    return allowed.length > 0 && !allowed.includes(request.method as HTTPMethods)
      ? new HttpRefusal(405, { allow: allowed.join(', ') })
      : new ConnectError('There is nothing at this path.', Code.NotFound)
  }

  app.addHook('preParsing', (request, reply, payload, done) => {
    if (!request.is404) return done(null, payload)
    const hasDocs = app.hasRoute({ method: 'GET', url: '/openapi.json' })
    if (request.url === '/' && hasDocs) reply.header('link', '</docs>; rel="service-doc"')
    done(unknownRoute(request))
  })
  app.setNotFoundHandler((request, reply) => handle(unknownRoute(request), request, reply))
}

/** Whether a path fits a pattern such as `/sessions/:id`. */
function matches(pattern: string, path: string): boolean {
  const parts = path.split('/')
  const expected = pattern.split('/')
  return (
    parts.length === expected.length && expected.every((part, index) => part.startsWith(':') || part === parts[index])
  )
}
