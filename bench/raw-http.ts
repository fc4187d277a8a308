/** A minimal HTTP/1.1 client on keep-alive connections, which takes little CPU and adds little latency. */

import { connect, type Socket } from 'node:net'

/** Carries one request at a time. */
export interface RawConnection {
  send(request: Buffer): void
}

/** The text of a request. */
export function rawRequest(
  method: string,
  url: string,
  headers: Record<string, string> = {},
  body: object | undefined = undefined
): string {
  const { host, pathname } = new URL(url)
  const text = body === undefined ? '' : JSON.stringify(body)
  const own =
    body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  const lines = Object.entries({ host, ...headers, ...own }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${pathname} HTTP/1.1\r\n${lines.join('')}\r\n${text}`
}

/**
 * The status and the length of the response at the start of a buffer; undefined while it is incomplete.
 *
 * @throws Error if the response has no content-length
 */
export function readResponse(received: Buffer): { status: number; bytes: number } | undefined {
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = received.toString('latin1', 0, headEnd)
  const status = Number(head.slice(9, 12))
  const length = status === 204 ? '0' : /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  if (length === undefined) throw new Error(`a response of status ${status} has no content-length`)
  const bytes = headEnd + 4 + Number(length)
  return received.length < bytes ? undefined : { status, bytes }
}

// Shared by all connections: each chunk is processed before the next one arrives.
const chunk = Buffer.allocUnsafe(65_536)
// Before a broken connection reports its failure.
const cooldownMs = 100

/**
 * Opens a connection, which reconnects on demand.
 *
 * @param onResponse gets the status of each response; 0: the connection ended before it
 */
export function openRawConnection(url: string, onResponse: (status: number) => void): RawConnection {
  const { hostname: host, port } = new URL(url)
  let received = Buffer.alloc(0)
  let isWaiting = false
  let socket = open()

  function open(): Socket {
    received = Buffer.alloc(0)
    const onread = { buffer: chunk, callback: (bytes: number) => onChunk(chunk.subarray(0, bytes)) }
    return (
      connect({ host, port: Number(port), noDelay: true, onread })
        // `close` follows.
        .on('error', () => {})
        .on('close', () => {
          if (isWaiting) setTimeout(end, cooldownMs, 0)
        })
    )
  }

  function onChunk(fresh: Buffer): boolean {
    const all = received.length === 0 ? fresh : Buffer.concat([received, fresh])
    const response = readResponse(all)
    received = Buffer.from(all.subarray(response?.bytes ?? 0))
    if (response) end(response.status)
    return true
  }

  function end(status: number): void {
    isWaiting = false
    onResponse(status)
  }

  return {
    send(request) {
      isWaiting = true
      if (socket.destroyed) socket = open()
      socket.write(request)
    }
  }
}
