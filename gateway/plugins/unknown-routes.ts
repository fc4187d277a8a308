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
  app.addHook('preParsing', (request, reply, payload, done) => {
    if (!request.is404) return done(null, payload)
    const hasDocs = app.hasRoute({ method: 'GET', url: '/openapi.json' })
    if (request.url === '/' && hasDocs) reply.header('link', '</docs>; rel="service-doc"')
    done(unknownRoute(app, request))
  })
  app.setNotFoundHandler((request, reply) => handle(unknownRoute(app, request), request, reply))
}

function unknownRoute(app: FastifyInstance, request: FastifyRequest): HttpRefusal | ConnectError {
  const [url = '/'] = request.url.split('?')
  const allowed = methods.filter((method) => app.findRoute({ url, method }) !== null)
  return allowed.length > 0 && !allowed.includes(request.method as HTTPMethods)
    ? new HttpRefusal(405, { allow: allowed.join(', ') })
    : new ConnectError('There is nothing at this path.', Code.NotFound)
}
