/**
 * Patches the request queue of kafkajs 2.2.4, whose idle connections wake up a thousand times a second: after each
 * response it sets a timer for a time in the past, and again whenever the timer fires (tulios/kafkajs#1556, #1704). It
 * also checks for request timeouts ten times a second. Remove when kafkajs has a release that fixes both, or is replaced.
 * It saves half of the CPU time of an idle service.
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

/** A request times out after at most 110 % of its timeout. */
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
