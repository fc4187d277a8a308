/** The page `/playground`, from memory, and the emails of a development setup that it shows. */

import { readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { Code, ConnectError } from '@connectrpc/connect'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { newestEmails } from '#common/mail/mail-files.ts'
import { isLoopbackHost } from '../loopback.ts'
import { ownPagePolicy } from '../response-headers.ts'

const folder = join(import.meta.dirname, '..', 'playground')
const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml'
}
const shownEmails = 20

/** @param mailDirectory the directory of the emails; undefined: the page shows none */
export function servePlayground(app: FastifyInstance, mailDirectory: string | undefined): void {
  for (const name of readdirSync(folder)) {
    const url = name === 'index.html' ? '/playground' : `/playground/${name}`
    const content = readFileSync(join(folder, name))
    const type = types[extname(name)] ?? 'application/octet-stream'
    app.get(url, { schema: { hide: true } }, async (_request, reply) =>
      reply.header('content-security-policy', ownPagePolicy).type(type).send(content)
    )
  }
  if (mailDirectory === undefined) return
  app.get('/playground/emails', { schema: { hide: true } }, async (request) => {
    if (!isOwnPage(request)) throw new ConnectError('There is nothing at this path.', Code.NotFound)
    return { emails: await newestEmails(mailDirectory, shownEmails) }
  })
}

/**
 * Whether a request comes from a program of this machine, and if from a browser, from this page. The emails contain
 * tokens: no other machine gets them through a proxy, and no other site by a name that resolves to this address.
 */
function isOwnPage({ headers, host }: FastifyRequest): boolean {
  const isProxied = Object.keys(headers).some((name) => proxyHeader.test(name))
  const site = headers['sec-fetch-site'] ?? 'none'
  const isOwn = (site === 'same-origin' || site === 'none') && [undefined, `http://${host}`].includes(headers.origin)
  return !isProxied && isOwn && isLoopbackHost(host.replace(/:\d+$/, ''))
}

const proxyHeader = /^(forwarded|via|x-forwarded-.*|x-real-ip|x-client-ip|true-client-ip|cf-.*)$/
