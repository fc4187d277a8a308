/** Creates the Fastify instance of the gateway: its logging, its HTTP limits, and the validation of bodies. */

import type { Server } from 'node:http'
import Fastify, { type FastifyBaseLogger, type FastifyHttpOptions, type FastifyInstance, LogController } from 'fastify'
import { invalidFields } from '#common/errors/connect-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { listenOnEveryAddress } from '#common/process/listen.ts'
import { hasTls, type ServerTls, terminateTls } from '#common/tls/termination.ts'
import { type Connections, isAnswered, setSession, trackConnections } from './connections.ts'
import { acceptHttp2, endConnection } from './http2.ts'
import { answerClientError, answerMalformed } from './plugins/client-errors.ts'
import type { ErrorHandling } from './plugins/error-responses.ts'
import { traceOf } from './request-context.ts'
import { violationsOf } from './schema-errors.ts'

export const maxBodyBytes = 16 * 1024

interface FastifyOptions {
  keepAliveTimeout: number
  /** With a certificate, the gateway serves HTTP/2 and HTTP/1.1 over TLS; otherwise plain HTTP/1.1. */
  tls?: ServerTls
  /** `receiveTimeout`: for the header of a request, and for the whole request. The budget of the route bounds the response. */
  connections: { maxStreams: number; receiveTimeout: number }
}

export function createFastify(
  log: Logger,
  errors: ErrorHandling,
  { keepAliveTimeout, tls = {}, connections: { maxStreams, receiveTimeout } }: FastifyOptions,
  isTrusted: (address: string) => boolean
) {
  const app: FastifyInstance = Fastify({
    ...logging(log),
    ...httpLimits(receiveTimeout),
    ...bodyValidation,
    keepAliveTimeout,
    // The gateway finishes accepted requests while it closes.
    return503OnClosing: false,
    clientErrorHandler: (error, socket) =>
      answerClientError(error, socket, isAnswered(connections.get(socket)), errors),
    // No hook has counted these requests, such as one whose path cannot be decoded: each costs its client a connection.
    frameworkErrors: (error, request, reply) => {
      endConnection(request, reply)
      errors.handle(error, request, reply)
    }
  })
  app.setErrorHandler(errors.handle)
  const connections: Connections = trackConnections(app)
  listenOnEveryAddress(app)
  if (hasTls(tls)) {
    const { abortHandshakes } = terminateTls(app.server, tls)
    app.addHook('preClose', async () => abortHandshakes())
    acceptHttp2(app, {
      maxStreams,
      isTrusted,
      onSession: (session, socket) => setSession(connections, socket, session),
      answerMalformed: (response) => answerMalformed(response, errors)
    })
  }
  return { app, connections }
}

/** plugins/access-log.ts writes one line for each request; a child logger for each request would cost more than that line. */
function logging(log: Logger) {
  const logger = log as unknown as FastifyBaseLogger
  return {
    loggerInstance: logger,
    childLoggerFactory: () => logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: (raw) => traceOf(raw).traceId
  } satisfies FastifyHttpOptions<Server>
}

function httpLimits(receiveTimeoutMs: number) {
  return {
    bodyLimit: maxBodyBytes,
    requestTimeout: receiveTimeoutMs,
    http: {
      headersTimeout: receiveTimeoutMs,
      connectionsCheckingInterval: 1000,
      // plugins/strict-http.ts rejects such requests with a problem.
      requireHostHeader: false,
      // A tenth of the work of a request without a body.
      optimizeEmptyRequests: true
    }
  } satisfies FastifyHttpOptions<Server>
}

/** Validates bodies as they are: no coercion, no defaults, no dropped fields, and every error. */
const bodyValidation = {
  ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false, allErrors: true } },
  schemaErrorFormatter: (problems) => invalidFields(violationsOf(problems))
} satisfies FastifyHttpOptions<Server>
