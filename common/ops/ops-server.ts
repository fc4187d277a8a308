/** The ops port: `/livez`, `/readyz` and `/metrics` over HTTP/1.1, separate from the port of users. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Registry } from '@prometheus-io/client'
import type { Logger } from '#common/logging/logger.ts'
import { oneAtATime } from '#common/network/pipelined-requests.ts'
import { endOldestAbove, endUnread } from './probe-connections.ts'
import type { Readiness } from './readiness.ts'

// Below the number of reserved file descriptors.
const maxConnections = 100
const unreadTimeoutMs = 10_000

/** No response is a page, a frame or a script. */
const headers = Object.entries({
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff'
})

/** Creates the server without listening. It does not keep the process alive. */
export function createOpsServer(
  registry: Registry,
  readiness: Readiness,
  log: Logger,
  unreadMs = unreadTimeoutMs
): Server {
  const timeouts = { requestTimeout: 5000, headersTimeout: 5000, connectionsCheckingInterval: 1000 }
  function serve(request: IncomingMessage, response: ServerResponse): void {
    for (const [name, value] of headers) response.setHeader(name, value)
    answer(request, response, registry, readiness).catch((error) => {
      log.error({ event: 'ops_request_failed', err: error }, 'failed to serve an ops request')
      response.statusCode = 500
      response.end()
    })
  }
  const server = createServer(timeouts, oneAtATime(endUnread(serve, unreadMs)))
  endOldestAbove(server, maxConnections)
  server.unref()
  return server
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  registry: Registry,
  readiness: Readiness
): Promise<void> {
  const [path, query] = (request.url ?? '/').split('?')
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { Allow: 'GET, HEAD' }).end()
  } else if (path === '/livez') {
    text(response, 200, 'ok')
  } else if (path === '/readyz') {
    text(
      response,
      readiness.ready() ? 200 : 503,
      new URLSearchParams(query).has('verbose') ? verbose(readiness) : summary(readiness)
    )
  } else if (path === '/metrics') {
    const metrics = await registry.metrics()
    response.writeHead(200, { 'Content-Type': registry.contentType }).end(metrics)
  } else {
    text(response, 404, 'serves /livez, /readyz, /readyz?verbose, /metrics')
  }
}

function text(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${body}\n`)
}

function summary(readiness: Readiness): string {
  return readiness.ready() ? 'ready' : readiness.draining() ? 'stopping' : 'not ready'
}

function verbose(readiness: Readiness): string {
  const lines = readiness.states().map(({ name, up, reason, warning, blocks }) => {
    return up
      ? `[+] ${name}: up${warning ? ` (warning: ${warning})` : ''}`
      : `[-] ${name}: ${reason}${blocks ? '' : ' (the service does what it can without it)'}`
  })
  return [summary(readiness), ...lines].join('\n')
}
