/** Requests of clients that disconnect: each has its own connection, which is reset after some milliseconds. */

import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

interface AbortedRequests {
  count: number
  perSecond: number
  abortAfterMs: number
}

/**
 * Repeats a request at a steady rate, or at a lower one on a slow machine.
 *
 * @returns the number of clients that disconnected before a response
 */
export async function sendAborted(
  port: number,
  request: string,
  { count, perSecond, abortAfterMs }: AbortedRequests
): Promise<number> {
  const startedAt = performance.now()
  const pending: Promise<boolean>[] = []
  for (let sent = 0; sent < count; sent += 1) {
    const waitMs = startedAt + (sent * 1000) / perSecond - performance.now()
    if (waitMs > 0) await sleep(waitMs)
    else if (sent % 10 === 0) await sleep(0)
    pending.push(sendOne(port, request, abortAfterMs))
  }
  return (await Promise.all(pending)).filter((isAborted) => isAborted).length
}

/** @returns whether the client disconnected before a response */
function sendOne(port: number, request: string, abortAfterMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    let isAborted = true
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.write(request)
      setTimeout(() => socket.resetAndDestroy(), abortAfterMs)
    })
    socket.on('data', () => {
      isAborted = false
    })
    socket.on('error', () => {})
    socket.once('close', () => resolve(isAborted))
  })
}
