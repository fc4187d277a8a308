/** The HTTP/2 connection to an instance of a service, which can be replaced while calls are under way on it. */

import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import { Code, ConnectError } from '@connectrpc/connect'
import { type ConnectTransportOptions, Http2SessionManager } from '@connectrpc/connect-node'
import { authorityHeader } from './authority.ts'
import { isUnprocessed } from './http2-guard.ts'
import { notProcessed } from './retry.ts'

/** What a transport asks of its connection. */
export type SessionManager = NonNullable<Extract<ConnectTransportOptions, { httpVersion: '2' }>['sessionManager']>

// What is half-open is found by pings.
const pings = { pingIntervalMs: 2000, pingTimeoutMs: 2000, pingIdleConnection: true }

/** A connection that is opened when it is needed. */
export interface RpcConnection extends SessionManager {
  /** Opens the stream of a unary call. Its errors are those of Node.js: see `isUnprocessed`. */
  post(path: string, header: Headers): Promise<ClientHttp2Stream>
  /**
   * From now on, calls go over a new connection. Those that are under way keep the old one until they have ended or
   * its pings are not answered: what is slow to answer, because of its processor say, may still answer them.
   */
  renew(): void
}

/** Without a stream, nothing of a call has been sent, however the connection failed. */
function notSent(thrown: unknown): never {
  const error = ConnectError.from(thrown)
  if (error.code === Code.Unavailable) throw error
  throw new ConnectError('It cannot be reached.', Code.Unavailable, undefined, undefined, error)
}

/**
 * Gives a stream that the peer certainly did not process an error of its own: Node.js destroys all streams of a session
 * with the same one. A unary call does this itself, since a replaced method makes each stream slower.
 */
function nameUnprocessed(stream: ClientHttp2Stream): void {
  const session = stream.session as ClientHttp2Session | undefined
  if (session === undefined) return
  const destroy = stream.destroy.bind(stream)
  stream.destroy = (error) => destroy(error && isUnprocessed(session, stream.id) ? notProcessed(error) : error)
}

export function createRpcConnection(baseUrl: string): RpcConnection {
  const connect = () => ({ manager: new Http2SessionManager(baseUrl, pings), streams: 0, isCurrent: true })
  let current = connect()
  const own = authorityHeader(baseUrl)
  const takers = new WeakMap<ClientHttp2Stream, ReturnType<typeof connect>>()

  function closeUnlessUsed({ manager, streams, isCurrent }: ReturnType<typeof connect>): void {
    // This fails the calls that wait for it to be established, none of which has been sent.
    if (!isCurrent && streams === 0) manager.abort(notProcessed(new Error('The connection was not established.')))
  }

  async function open(...request: Parameters<SessionManager['request']>): Promise<ClientHttp2Stream> {
    const taker = current
    const stream = await taker.manager.request(...request).catch(notSent)
    taker.streams += 1
    stream.once('close', () => {
      taker.streams -= 1
      closeUnlessUsed(taker)
    })
    return stream
  }

  return {
    authority: current.manager.authority,
    async request(method, path, headers, options) {
      const taker = current
      const stream = await open(method, path, { ...headers, ...own }, options)
      takers.set(stream, taker)
      nameUnprocessed(stream)
      return stream
    },
    post: (path, header) => open('POST', path, Object.assign(Object.fromEntries(header), own), {}),
    notifyResponseByteRead: (stream) => takers.get(stream)?.manager.notifyResponseByteRead(stream),
    renew() {
      const old = current
      current = connect()
      old.isCurrent = false
      closeUnlessUsed(old)
    }
  }
}
