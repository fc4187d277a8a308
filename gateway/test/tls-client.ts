/** An HTTP/1.1 client over TLS, for tests. */

import { once } from 'node:events'
import { type RequestOptions, request } from 'node:https'
import type { Message } from './http2-client.ts'

/** Sends a request on a connection of its own. */
export async function requestTls(
  port: number,
  method: string,
  path: string,
  { headers = {}, json }: Message = {},
  options: RequestOptions = { rejectUnauthorized: false }
) {
  const body = json === undefined ? undefined : JSON.stringify(json)
  const length =
    body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  const sent = request({
    host: 'localhost',
    agent: false,
    port,
    method,
    path,
    headers: { ...length, ...headers },
    ...options
  })
  sent.end(body)
  const [response] = await once(sent, 'response')
  let text = ''
  for await (const chunk of response) text += chunk
  return { statusCode: Number(response.statusCode), headers: response.headers, body: text }
}
