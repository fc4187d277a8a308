/**
 * Remembers lines that were shown and can come again from another place: those of the spool when they are collected,
 * and those that a sink takes back because it could not commit them.
 */

import { hash } from 'node:crypto'

/** Lines that were shown. */
export interface Shown {
  addSpooled(line: Buffer): void
  /** @param place stands for the files in which a line that comes again is another line */
  addCollected(line: Buffer, place: number): void
  /** Whether a collected line was shown before, from the spool or as one of another place. */
  comesAgain(line: Buffer, place: number): boolean
}

/** So many collected lines are remembered at least: more than what a sink has not committed. */
export const recentLines = 100_000

/**
 * Remembers nothing yet.
 *
 * @param limit so many lines of the spool are remembered at least until they are collected
 */
export function createShown(limit = 500_000): Shown {
  /** How often it was shown, for each line of the spool. */
  const spooled = createMemory(limit)
  /** The place, for each collected line. */
  const collected = createMemory(recentLines)

  return {
    addSpooled(line) {
      const key = keyOf(line)
      spooled.set(key, (spooled.get(key) ?? 0) + 1)
    },
    addCollected: (line, place) => collected.set(keyOf(line), place),
    comesAgain(line, place) {
      if (spooled.isEmpty() && collected.isEmpty()) return false
      const key = keyOf(line)
      const count = spooled.get(key) ?? 0
      if (count > 0) spooled.set(key, count - 1)
      else if ((collected.get(key) ?? place) === place) return false
      collected.set(key, place)
      return true
    }
  }
}

/** Numbers by keys; at least `limit` of them, the newest, are kept. One that is 0 is not kept. */
function createMemory(limit: number) {
  let young = new Map<number, number>()
  let old = new Map<number, number>()
  return {
    isEmpty: () => young.size + old.size === 0,
    get: (key: number) => young.get(key) ?? old.get(key),
    set(key: number, value: number): void {
      old.delete(key)
      young.delete(key)
      if (value !== 0) young.set(key, value)
      if (young.size < limit) return
      old = young
      young = new Map()
    }
  }
}

/** As much of a good hash as a number holds: among a million lines, one is taken for another once in ten thousand times. */
function keyOf(line: Buffer): number {
  const digest = hash('sha1', line, 'buffer')
  return digest.readUInt32BE(0) * 2 ** 21 + (digest.readUInt32BE(4) >>> 11)
}
