/**
 * Lets a connection to Kafka that has nothing to do rest: kafkajs 2.2.4 sets a timer for a time that is over whenever
 * a request has been answered, and again each time it fires, which is a thousand times a second for each connection.
 */

import { createRequire } from 'node:module'

interface RequestQueue {
  pending: unknown[]
  scheduleCheckPendingRequests(): void
}

const queueModule = 'kafkajs/src/network/requestQueue/index.js'
const queue = (createRequire(import.meta.url)(queueModule) as { prototype: RequestQueue }).prototype
const { scheduleCheckPendingRequests } = queue

queue.scheduleCheckPendingRequests = function (this: RequestQueue) {
  if (this.pending.length > 0) scheduleCheckPendingRequests.call(this)
}
