/** Keeps the lines of single requests out of a disk buffer that is filling up: they would push out the lines of audits. */

import type { Spool } from './spool.ts'

/** The share of the buffer that lines of requests may fill. */
const share = 0.5
// Quotation marks in the values of a line are escaped.
const requestLine = /"event":"(http_request|rpc_served)"/

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
