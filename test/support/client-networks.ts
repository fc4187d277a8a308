/** Requests from client addresses of 127.0.0.0/8: each is a network of its own. */

import { randomInt } from 'node:crypto'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'

export interface Response {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

/** The first bytes of every client address. */
export const clientRange = `127.${randomInt(64, 250)}.${randomInt(256)}`
let clients = 0

/** An address that no request has used. */
export function newClient(): string {
  clients += 1
  return `${clientRange}.${clients}`
}

/** Sends a body to a port, from a client address and by a connection of its own. */
export function postFrom(
  client: string,
  { port, path, body, headers = {} }: { port: number; path: string; body: object; headers?: Record<string, string> }
): Promise<Response> {
  const { promise, resolve, reject } = Promise.withResolvers<Response>()
  const options = { port, path, method: 'POST', localAddress: client, agent: false }
  const call = httpRequest({ ...options, headers: { ...headers, 'content-type': 'application/json' } }, (response) => {
    let text = ''
    response.on('data', (chunk: Buffer) => (text += chunk.toString()))
    response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }))
  })
  call.on('error', reject).end(JSON.stringify(body))
  return promise
}
