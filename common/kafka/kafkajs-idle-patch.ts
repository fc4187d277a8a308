/**
 * Lets a connection to Kafka that has nothing to do rest. kafkajs 2.2.4 sets a timer for a time that is over whenever
 * a request has been answered, and again each time it fires, which is a thousand times a second for each connection;
 * and ten times a second it looks for requests that have waited for too long.
 */

import { createRequire } from 'node:module'

interface RequestQueue {
  pending: unknown[]
  inflight: Map<unknown, { sentAt: number; requestTimeout: number; timeoutRequest(): void }>
  /** In milliseconds. */
  requestTimeout: number
  enforceRequestTimeout: boolean
  requestTimeoutIntervalId: NodeJS.Timeout | undefined
  isConnected(): boolean
  scheduleCheckPendingRequests(): void
  scheduleRequestTimeoutCheck(): void
  destroy(): void
}

const queueModule = 'kafkajs/src/network/requestQueue/index.js'
const queue = (createRequire(import.meta.url)(queueModule) as { prototype: RequestQueue }).prototype
const { scheduleCheckPendingRequests } = queue

queue.scheduleCheckPendingRequests = function (this: RequestQueue) {
  if (this.pending.length > 0) scheduleCheckPendingRequests.call(this)
}

/** A request waits a tenth longer than its time, at most. */
queue.scheduleRequestTimeoutCheck = function (this: RequestQueue) {
  if (!this.enforceRequestTimeout) return
  this.destroy()
  this.requestTimeoutIntervalId = setInterval(() => {
    for (const request of this.inflight.values()) {
      if (Date.now() - request.sentAt > request.requestTimeout) request.timeoutRequest()
    }
    if (!this.isConnected()) this.destroy()
  }, this.requestTimeout / 10)
}
