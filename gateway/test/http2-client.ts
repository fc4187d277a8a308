/** An HTTP/2 client over TLS, for tests. */

import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  type SecureClientSessionOptions
} from 'node:http2'

type Ending = { teardown: (end: () => unknown) => void }

/** Opens a connection; it is closed when the test ends. */
export async function openSession(
  t: Ending,
  port: number,
  options: SecureClientSessionOptions = {}
): Promise<ClientHttp2Session> {
  const session = connect(`https://localhost:${port}`, { rejectUnauthorized: false, ...options }).on('error', () => {})
  t.teardown(() => session.destroy())
  await once(session, 'connect')
  return session
}

export interface Message {
  headers?: Record<string, string>
  /** Sent as JSON. */
  json?: unknown
}

/** Sends a request without its end. */
export function start(
  session: ClientHttp2Session,
  route: string,
  { headers = {}, json }: Message = {}
): ClientHttp2Stream {
  const [method, path] = route.split(' ')
  const type = json === undefined ? {} : { 'content-type': 'application/json' }
  const stream = session.request({ ':method': method, ':path': path, ...type, ...headers }, { endStream: false })
  if (json !== undefined) stream.write(JSON.stringify(json))
  return stream
}

/** The response to a request, after its stream has closed; rejects if it was reset before the response. */
export function answerOf(stream: ClientHttp2Stream) {
  const chunks: Buffer[] = []
  let received: IncomingHttpHeaders & IncomingHttpStatusHeader = {}
  let failure = new Error('closed without a response')
  stream.on('response', (headers) => {
    received = headers
  })
  stream
    .on('data', (chunk) => chunks.push(chunk))
    .on('error', (error) => {
      failure = error
    })
  return new Promise<{ statusCode: number; headers: IncomingHttpHeaders; body: string }>((resolve, reject) => {
    stream.once('close', () => {
      const { ':status': status, ...headers } = received
      if (status === undefined) reject(failure)
      else resolve({ statusCode: status, headers, body: Buffer.concat(chunks).toString() })
    })
  })
}

/** Sends a complete request, and reads its response. */
export async function send(session: ClientHttp2Session, route: string, message: Message = {}) {
  const stream = start(session, route, message)
  stream.end()
  return answerOf(stream)
}
