/** Describes the routes as OpenAPI 3.1 at `/openapi.json`, with Swagger UI at `/docs`. */

import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { version } from '#common/version.ts'

/** Register it before the routes that it is to describe. */
export async function describeRoutes(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Accounts and sessions',
        description:
          'Register, log in, log out, delete the account, and ask whose session a token is. Errors are `application/problem+json` (RFC 9457).',
        version,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' }
      },
      tags: [
        { name: 'account', description: 'Accounts' },
        { name: 'session', description: 'Sessions' }
      ],
      components: {
        securitySchemes: {
          session: { type: 'http', scheme: 'bearer', bearerFormat: 'ses_…', description: 'A session token (RFC 6750).' }
        }
      }
    }
  })
  await app.register(async (docs) => {
    // Over what the plugin has to say of its files.
    docs.addHook('onSend', async (_request, reply) => {
      reply.header('cache-control', 'no-store')
    })
    await docs.register(swaggerUi, { routePrefix: '/docs', uiConfig: { tryItOutEnabled: true } })
  })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
}
