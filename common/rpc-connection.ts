/** The HTTP/2 connection to an instance of a service, which can be replaced while calls are under way on it. */

import type { ClientHttp2Stream } from 'node:http2'
import { type ConnectTransportOptions, Http2SessionManager } from '@connectrpc/connect-node'
import { neverTaken } from './retry.ts'
import { endRequestWithMessage } from './rpc-frames.ts'

/** What a transport asks of its connection. */
export type SessionManager = NonNullable<Extract<ConnectTransportOptions, { httpVersion: '2' }>['sessionManager']>

// What is half-open is found by pings.
const pings = { pingIntervalMs: 2000, pingTimeoutMs: 2000, pingIdleConnection: true }

/** A connection that is opened when it is needed. */
export interface RpcConnection extends SessionManager {
  /**
   * From now on, calls go over a new connection. Those that are under way keep the old one until they have ended or
   * its pings are not answered: what is slow to answer, because of its processor say, may still answer them.
   */
  renew(): void
}

export function createRpcConnection(baseUrl: string): RpcConnection {
  const open = () => ({ manager: new Http2SessionManager(baseUrl, pings), streams: 0, isCurrent: true })
  let current = open()
  const takers = new WeakMap<ClientHttp2Stream, ReturnType<typeof open>>()

  function closeUnlessUsed({ manager, streams, isCurrent }: ReturnType<typeof open>): void {
    // This fails the calls that wait for it to be established, none of which has been sent.
    if (!isCurrent && streams === 0) manager.abort(neverTaken(new Error('The connection was not established.')))
  }

  return {
    authority: current.manager.authority,
    async request(method, path, headers, options) {
      const taker = current
      const stream = await taker.manager.request(method, path, headers, options)
      endRequestWithMessage(stream, headers)
      taker.streams += 1
      takers.set(stream, taker)
      stream.once('close', () => {
        taker.streams -= 1
        closeUnlessUsed(taker)
      })
      return stream
    },
    notifyResponseByteRead: (stream) => takers.get(stream)?.manager.notifyResponseByteRead(stream),
    renew() {
      const old = current
      current = open()
      old.isCurrent = false
      closeUnlessUsed(old)
    }
  }
}
