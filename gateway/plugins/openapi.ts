/** @fastify/swagger and swagger-ui: describe the routes as OpenAPI 3.1 at `/openapi.json`, with a page at `/docs`. */

import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, extname, join } from 'node:path'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { version } from '#common/process/version.ts'
import { browserHeaders, ownPagePolicy } from '../response-headers.ts'
import { completeDocument, type Document, foldProblems } from './openapi-document.ts'
import { cookieName } from './session-cookie.ts'

const productName = 'auth-backend'
// Swagger UI has its icons in data URLs.
const docsPolicy = `${ownPagePolicy}; img-src 'self' data:`

/** Describes the routes that are registered after this call. */
export async function describeRoutes(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    transformObject: (parts) =>
      completeDocument((parts as unknown as { openapiObject: Document }).openapiObject) as object,
    refResolver: { buildLocalReference: ({ $id }) => String($id) },
    openapi: {
      openapi: '3.1.0',
      info: {
        title: `${productName}: accounts and sessions`,
        description:
          'Accounts, passwords, email addresses and sessions. Errors are `application/problem+json` (RFC 9457).',
        version,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' }
      },
      servers: [{ url: '/', description: 'The gateway that serves this document.' }],
      tags: [
        { name: 'account', description: 'Accounts' },
        { name: 'password', description: 'Passwords' },
        { name: 'email', description: 'Email addresses' },
        { name: 'session', description: 'Sessions' }
      ],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'ses_…', description: 'A session token (RFC 6750).' },
          cookie: { type: 'apiKey', in: 'cookie', name: cookieName, description: 'A session token, for browsers.' }
        }
      }
    }
  })
  await app.register(async (docs) => {
    // The plugin sets its own value for its files.
    docs.addHook('onSend', async (_request, reply) => {
      const policy = reply.statusCode < 400 ? docsPolicy : browserHeaders['content-security-policy']
      reply.headers({ 'cache-control': 'no-store', 'content-security-policy': policy })
    })
    // From memory, so that an unread response holds no file descriptor. Read at the first request, because they take 2.6 MB.
    let files: ReturnType<typeof staticFiles> | undefined
    docs.addHook('onRequest', async ({ url, method }, reply) => {
      if (!url.startsWith(staticPrefix) || (method !== 'GET' && method !== 'HEAD')) return
      files ??= staticFiles()
      const file = files.get(url.split('?')[0] ?? '')
      if (file !== undefined) return reply.type(file.type).send(file.content)
    })
    await docs.register(swaggerUi, {
      routePrefix: '/docs',
      theme: { title: productName },
      // Without the bar of Swagger UI with its logo.
      uiConfig: { tryItOutEnabled: true, layout: 'BaseLayout' },
      transformSpecification: (document) => foldProblems(document as Document)
    })
  })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
}

const staticPrefix = '/docs/static/'
const types: Record<string, string> = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.png': 'image/png'
}

/** The files of Swagger UI by path. */
function staticFiles(): Map<string, { type: string; content: Buffer }> {
  const folder = join(dirname(createRequire(import.meta.url).resolve('@fastify/swagger-ui')), 'static')
  const names = readdirSync(folder).filter((name) => types[extname(name)] !== undefined)
  return new Map(
    names.map((name) => [
      `${staticPrefix}${name}`,
      { type: String(types[extname(name)]), content: readFileSync(join(folder, name)) }
    ])
  )
}
