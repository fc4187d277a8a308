/** The HTTP/2 connection to an instance, replaceable while calls are in flight on it. */

import type { ClientHttp2Session, ClientHttp2Stream, SecureClientSessionOptions } from 'node:http2'
import { connect as connectTls } from 'node:tls'
import { Code, ConnectError } from '@connectrpc/connect'
import { type ConnectTransportOptions, Http2SessionManager } from '@connectrpc/connect-node'
import { clientTls, tlsHost } from '#common/tls/client-options.ts'
import type { PemFiles } from '#common/tls/pem-source.ts'
import { authorityHeader } from './authority.ts'
import { isUnprocessed } from './http2-guard.ts'
import { notProcessed } from './retry.ts'

/** The interface that connect-node requires of a connection. */
type SessionManager = NonNullable<Extract<ConnectTransportOptions, { httpVersion: '2' }>['sessionManager']>

// Pings detect half-open connections.
const pings = { pingIntervalMs: 2000, pingTimeoutMs: 2000, pingIdleConnection: true }

/** A connection that is established by its first call. */
export interface RpcConnection extends SessionManager {
  /** Opens the stream of a unary call. Its errors are those of Node.js: see `isUnprocessed`. */
  post(path: string, header: Headers): Promise<ClientHttp2Stream>
  /**
   * Sends later calls over a new connection. In-flight calls keep the old one until they end or its pings time out: an
   * upstream that is slow, because of its CPU for example, may still respond to them.
   */
  renew(): void
}

/** A call without a stream has not been sent, however the connection failed. */
function notSent(thrown: unknown): never {
  const error = ConnectError.from(thrown)
  if (error.code === Code.Unavailable) throw notProcessed(error.cause, error.rawMessage)
  throw notProcessed(error, 'The upstream is unreachable.')
}

/**
 * Gives a stream that the peer did not process an error that says so: Node.js destroys all streams of a session with the
 * same error. Unary calls do this in `exchange`, because an overridden method makes each stream slower.
 */
function markUnprocessed(stream: ClientHttp2Stream): void {
  const session = stream.session as ClientHttp2Session | undefined
  if (session === undefined) return
  const destroy = stream.destroy.bind(stream)
  stream.destroy = (error) => destroy(error && isUnprocessed(session, stream.id) ? notProcessed(error) : error)
}

/** Options of `http2.connect` that read the certificates again for each connection. */
function sessionOptions(tls: PemFiles | undefined): SecureClientSessionOptions {
  const options = clientTls(tls)
  return {
    createConnection({ hostname, port }) {
      return connectTls({ ...options(), ...tlsHost(hostname), port: Number(port || 443), ALPNProtocols: ['h2'] })
    }
  }
}

/** @param tls the certificates for a URL with `https:` */
export function createRpcConnection(baseUrl: string, tls?: PemFiles): RpcConnection {
  const options = baseUrl.startsWith('https:') ? sessionOptions(tls) : undefined
  const connect = () => ({ manager: new Http2SessionManager(baseUrl, pings, options), streams: 0, isCurrent: true })
  let current = connect()
  const own = authorityHeader(baseUrl)
  const owners = new WeakMap<ClientHttp2Stream, ReturnType<typeof connect>>()

  function closeIfUnused({ manager, streams, isCurrent }: ReturnType<typeof connect>): void {
    // This fails the calls that wait for the connection; none has been sent.
    if (!isCurrent && streams === 0) manager.abort(notProcessed(new Error('The connection was not established.')))
  }

  async function open(...request: Parameters<SessionManager['request']>): Promise<ClientHttp2Stream> {
    const owner = current
    const stream = await owner.manager.request(...request).catch(notSent)
    owner.streams += 1
    stream.once('close', () => {
      owner.streams -= 1
      closeIfUnused(owner)
    })
    return stream
  }

  return {
    authority: current.manager.authority,
    async request(method, path, headers, options) {
      const owner = current
      const stream = await open(method, path, { ...headers, ...own }, options)
      owners.set(stream, owner)
      markUnprocessed(stream)
      return stream
    },
    post: (path, header) => open('POST', path, Object.assign(Object.fromEntries(header), own), {}),
    notifyResponseByteRead: (stream) => owners.get(stream)?.manager.notifyResponseByteRead(stream),
    renew() {
      const old = current
      current = connect()
      old.isCurrent = false
      closeIfUnused(old)
    }
  }
}
