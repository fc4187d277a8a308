/** Builds the gateway from its parts; knows no port and no environment. */

import { createClient, type Transport } from '@connectrpc/connect'
import type { Registry } from '@prometheus-io/client'
import type { FastifyInstance } from 'fastify'
import type { Values } from '#common/config/load.ts'
import type { Logger } from '#common/logging/logger.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import { clientFinder, networks, requireClient } from './client-address.ts'
import type { gateway } from './config.ts'
import { createFastify, maxBodyBytes } from './fastify.ts'
import { withJsonNames } from './field-names.ts'
import { logRequests } from './plugins/access-log.ts'
import { limitConnections } from './plugins/connection-limits.ts'
import { clientDescriber } from './plugins/device-token.ts'
import { drainConnections } from './plugins/drain.ts'
import { errorHandling } from './plugins/error-responses.ts'
import { acceptJsonOnly } from './plugins/json-body.ts'
import { describeRoutes } from './plugins/openapi.ts'
import { answerCors, rejectCrossOrigin } from './plugins/origins.ts'
import { servePlayground } from './plugins/playground.ts'
import type { RateLimitRedis } from './plugins/rate-limit-store.ts'
import { limitRates } from './plugins/rate-limits.ts'
import { measureRequests } from './plugins/request-metrics.ts'
import { requireSession } from './plugins/session-check.ts'
import { loadCookies } from './plugins/session-cookie.ts'
import { rejectAmbiguous, rejectContradictory } from './plugins/strict-http.ts'
import { shedUnderPressure } from './plugins/under-pressure.ts'
import { answerUnknownRoutes } from './plugins/unknown-routes.ts'
import { addCommonHeaders } from './request-context.ts'
import { accountRoutes } from './routes/accounts.ts'
import { emailRoutes } from './routes/email-addresses.ts'
import { passwordRoutes } from './routes/passwords.ts'
import { sessionListRoutes } from './routes/session-lists.ts'
import { sessionRoutes } from './routes/sessions.ts'
import { sharedSchemas } from './schemas.ts'
import { createValidationBatcher } from './session-validation/batcher.ts'

export interface GatewayParts {
  userSvc: Transport
  sessionSvc: Transport
  redis: RateLimitRedis
  registry: Registry
  log: Logger
  /** The directory of the emails that the playground shows, if it shows any. */
  mailDirectory?: string | undefined
}

export async function buildApp(parts: GatewayParts, options: Values<typeof gateway>): Promise<FastifyInstance> {
  const { registry, log } = parts
  const errors = errorHandling(registry, log)
  const isTrusted = networks(options.trustedProxies)
  const { app, connections } = createFastify(log, errors, options, isTrusted)
  const clientOf = clientFinder(isTrusted, log)
  const limits = { ...options.connections, keepAliveTimeout: options.keepAliveTimeout }
  // Hooks run in this order.
  limitConnections(app, connections, limits, { registry, log, isTrusted })
  addCommonHeaders(app)
  await answerCors(app, options.origins)
  answerUnknownRoutes(app, errors)
  acceptJsonOnly(app)
  drainConnections(app, connections)
  rejectAmbiguous(app, maxBodyBytes)
  logRequests(app, log)
  await measureRequests(app, registry)
  await shedUnderPressure(app, registry)
  requireClient(app, clientOf)
  await limitRates(app, options.rateLimit, { ...parts, clientOf })
  rejectContradictory(app)
  rejectCrossOrigin(app, options.origins)
  await loadCookies(app)
  for (const schema of sharedSchemas) app.addSchema(schema)
  if (options.docs) {
    await describeRoutes(app)
    servePlayground(app, parts.mailDirectory)
  }

  const users = createClient(UserService, withJsonNames(parts.userSvc))
  const sessions = createClient(SessionService, withJsonNames(parts.sessionSvc))
  const checkSession = requireSession(createValidationBatcher(sessions))
  const describeClient = clientDescriber(clientOf)
  const routeParts = { users, sessions, checkSession, describeClient, ...options }
  accountRoutes(app, routeParts)
  sessionRoutes(app, routeParts)
  sessionListRoutes(app, routeParts)
  passwordRoutes(app, routeParts)
  emailRoutes(app, routeParts)
  return app
}
