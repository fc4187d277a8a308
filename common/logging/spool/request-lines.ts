/** Keeps the lines of single requests out of a disk buffer that is filling up: they would push out the lines of audits. */

import type { Spool } from './spool.ts'

/** The share of the buffer that lines of requests may fill. */
const share = 0.5
/**
 * The events of which a client can cause a line with every request, however many it sends. All other lines are kept: those
 * of audits, whose requests have limits, and those of states, which are written when a state changes.
 */
const requestEvents = [
  'http_request',
  'http_refused',
  'request_failed',
  'rpc_served',
  'ops_request_failed',
  'session_unreadable',
  'guess_count_failed'
]
// Quotation marks in the values of a line are escaped.
const requestLine = new RegExp(`"event":"(${requestEvents.join('|')})"`)

/** A spool that drops lines of requests while more than half of the buffer is in use. */
export interface RequestLineSpool extends Spool {
  /** @param bytes the size of the buffer, which the shipper reports every second */
  onSize(bytes: number): void
}

export function keepRoomForAudits(spool: Spool, maxBytes: number, dropped: () => void): RequestLineSpool {
  let reported = 0
  // Since the report: a flood of requests fills a small buffer within a second.
  let written = 0
  return {
    ...spool,
    write(line) {
      if (reported + written > maxBytes * share && requestLine.test(line)) return dropped()
      written += line.length
      spool.write(line)
    },
    onSize(bytes) {
      reported = bytes
      written = 0
    }
  }
}
