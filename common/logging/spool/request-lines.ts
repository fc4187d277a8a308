/** Keeps the lines of single requests out of a disk buffer that is filling up: they would push out the lines of audits. */

import type { Spool } from './spool.ts'

/** The share of the buffer that lines of requests may fill. */
const share = 0.5
// Quotation marks in the values of a line are escaped.
const requestLine = /"event":"(http_request|rpc_served)"/

/** A spool that drops lines of requests while more than half of the buffer is in use. */
export interface RequestLineSpool extends Spool {
  /** @param bytes the size of the buffer, which the shipper reports */
  onSize(bytes: number): void
}

export function keepRoomForAudits(spool: Spool, maxBytes: number, dropped: () => void): RequestLineSpool {
  let isFilling = false
  return {
    ...spool,
    write(line) {
      if (isFilling && requestLine.test(line)) dropped()
      else spool.write(line)
    },
    onSize(bytes) {
      isFilling = bytes > maxBytes * share
    }
  }
}
