/** Builds the gateway from its parts; knows no port and no environment. */

import { createClient, type Transport } from '@connectrpc/connect'
import type { Registry } from '@prometheus-io/client'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import type { Values } from '#common/config/load.ts'
import { invalidFields } from '#common/errors/connect-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { listenOnEveryAddress } from '#common/process/listen.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import { clientFinder, networks } from './client-address.ts'
import type { gateway } from './config.ts'
import { isAnswered, trackConnections } from './connections.ts'
import { logRequests, measureRequests } from './plugins/access-log.ts'
import { limitConnections } from './plugins/connection-limits.ts'
import { drainConnections } from './plugins/drain.ts'
import { errorHandling } from './plugins/errors.ts'
import { acceptJsonOnly } from './plugins/json-body.ts'
import { describeRoutes } from './plugins/openapi.ts'
import type { RateLimitRedis } from './plugins/rate-limit-store.ts'
import { limitRates } from './plugins/rate-limits.ts'
import { requireSession } from './plugins/session-check.ts'
import { refuseAmbiguous } from './plugins/strict-http.ts'
import { shedUnderPressure } from './plugins/under-pressure.ts'
import { commonHeaders, traceOf } from './request-context.ts'
import { accountRoutes } from './routes/accounts.ts'
import { sessionRoutes } from './routes/sessions.ts'
import { violationsOf } from './schema-errors.ts'
import { createValidationBatcher } from './session-validation/batcher.ts'

export interface GatewayParts {
  userSvc: Transport
  sessionSvc: Transport
  redis: RateLimitRedis
  registry: Registry
  log: Logger
}

const maxBodyBytes = 16 * 1024
const receiveTimeoutMs = 10_000

export async function buildApp(parts: GatewayParts, options: Values<typeof gateway>): Promise<FastifyInstance> {
  const { registry, log } = parts
  const errors = errorHandling(registry, log)
  const app: FastifyInstance = Fastify({
    loggerInstance: log as unknown as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: (raw) => traceOf(raw).traceId,
    // A log for each request would cost more than the one line that most of them write.
    childLoggerFactory: () => log as unknown as FastifyBaseLogger,
    bodyLimit: maxBodyBytes,
    // How long a client may take to send a request; what the answer may take is each route's budget.
    requestTimeout: receiveTimeoutMs,
    http: {
      headersTimeout: receiveTimeoutMs,
      connectionsCheckingInterval: 1000,
      requireHostHeader: false,
      // What is not sent need not be read to its end: a tenth of the work for a request without a body.
      optimizeEmptyRequests: true
    },
    keepAliveTimeout: options.keepAliveTimeout,
    return503OnClosing: false,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false, allErrors: true } },
    schemaErrorFormatter: (problems) => invalidFields(violationsOf(problems)),
    clientErrorHandler: (error, socket) => errors.clientError(error, socket, isAnswered(connections.get(socket))),
    frameworkErrors: (error, request, reply) => void errors.handle(error, request, reply)
  })
  listenOnEveryAddress(app)
  const connections = trackConnections(app)
  const trusts = networks(options.trustedProxies)
  // Node.js ends an idle connection; one blank line now and then restarts its timer: nodejs/node#58140.
  const idleTimeout = options.keepAliveTimeout + receiveTimeoutMs
  limitConnections(app, connections, { ...options.connections, idleTimeout }, { registry, log, trusts })
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(commonHeaders(traceOf(request.raw)))
    done()
  })
  app.setErrorHandler(errors.handle)
  errors.answerUnknownRoutes(app)
  acceptJsonOnly(app)
  drainConnections(app, connections)
  refuseAmbiguous(app, maxBodyBytes)
  logRequests(app, log)
  await measureRequests(app, registry)
  await shedUnderPressure(app, registry)
  await limitRates(app, options.rateLimit, { ...parts, clientOf: clientFinder(trusts, log) })
  if (options.docs) await describeRoutes(app)

  const users = createClient(UserService, parts.userSvc)
  const checkSession = requireSession(createValidationBatcher(createClient(SessionService, parts.sessionSvc)))
  accountRoutes(app, { users, checkSession, ...options })
  sessionRoutes(app, { users, checkSession, ...options })
  return app
}
