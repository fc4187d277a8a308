/** Remembers lines that were shown from the spool, until they come again as collected ones. */

import { hash } from 'node:crypto'

/** Lines that were shown before they were collected. */
export interface Ahead {
  add(line: Buffer): void
  /** Whether a collected line was shown before; it is forgotten with that. */
  take(line: Buffer): boolean
}

/**
 * Remembers nothing yet.
 *
 * @param limit so many lines are remembered for certain; beyond twice as many, the oldest are forgotten
 */
export function createAhead(limit = 500_000): Ahead {
  let young = new Map<number, number>()
  let old = new Map<number, number>()

  return {
    add(line) {
      const key = keyOf(line)
      young.set(key, (young.get(key) ?? 0) + 1)
      if (young.size < limit) return
      old = young
      young = new Map()
    },
    take(line) {
      if (young.size + old.size === 0) return false
      const key = keyOf(line)
      return takeFrom(old, key) || takeFrom(young, key)
    }
  }
}

function takeFrom(lines: Map<number, number>, key: number): boolean {
  const count = lines.get(key)
  if (count === undefined) return false
  if (count === 1) lines.delete(key)
  else lines.set(key, count - 1)
  return true
}

/** As much of a good hash as a number holds: among a million lines, one is taken for another once in ten thousand times. */
function keyOf(line: Buffer): number {
  const digest = hash('sha1', line, 'buffer')
  return digest.readUInt32BE(0) * 2 ** 21 + (digest.readUInt32BE(4) >>> 11)
}
