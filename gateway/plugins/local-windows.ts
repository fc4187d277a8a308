/**
 * Sliding windows in the memory of a gateway, for the time in which Redis does not answer. No window is forgotten before it
 * ends: when there are too many, new clients share the windows of their larger networks.
 */

import { createHash } from 'node:crypto'

/** A window is counted in this many slots, and the current one: a limit holds in every interval of its length. */
export const slotsPerWindow = 10

/** At most `max` units of a client within `windowMs`, whenever the interval starts. */
export interface Limit {
  max: number
  /** Milliseconds. */
  windowMs: number
}

/** The count of a window after units were taken. */
export interface WindowCount {
  isAdmitted: boolean
  /** The units of the window, with those that were taken. */
  used: number
  /** Milliseconds until the first units are free again; if the request was rejected, until it would be admitted. */
  leftMs: number
}

/** The result of taking units from a limit. */
export interface Taken extends WindowCount {
  /** Makes units of an admitted request free at once. */
  giveBack(amount: number): void
}

const maxWindows = 10_000
const sharedWindows = 1024

type Window = Map<number, number>

/** @param now milliseconds since any fixed point */
export function localWindows(now: () => number) {
  const windows = new Map<string, Window>()
  const shared = new Map<string, Window>()

  /** Deletes windows that have ended. They are in the order of their last use. */
  function deleteEnded(firstSlot: number): void {
    for (const [key, window] of windows) {
      if (Math.max(...window.keys()) >= firstSlot) return
      windows.delete(key)
    }
  }

  function windowOf(key: string, largerKey: string): Window {
    const own = windows.get(key)
    if (own === undefined && windows.size >= maxWindows) {
      const name = sharedName(largerKey)
      return shared.get(name) ?? put(shared, name, new Map())
    }
    windows.delete(key)
    return put(windows, key, own ?? new Map())
  }

  return {
    /** @param largerKey the key that a client shares with its neighbours when there are too many windows */
    take(key: string, largerKey: string, cost: number, { max, windowMs }: Limit): Taken {
      const slotMs = windowMs / slotsPerWindow
      const slot = Math.floor(now() / slotMs)
      const firstSlot = slot - slotsPerWindow
      deleteEnded(firstSlot)
      const window = windowOf(key, largerKey)
      for (const at of window.keys()) if (at < firstSlot) window.delete(at)
      const used = sum(window.values())
      const isAdmitted = used + cost <= max
      if (isAdmitted) window.set(slot, (window.get(slot) ?? 0) + cost)
      const freeSlot = slotThatFrees(window, isAdmitted ? 1 : used + cost - max) ?? slot
      const leftMs = (freeSlot + slotsPerWindow + 1) * slotMs - now()
      return { isAdmitted, used: isAdmitted ? used + cost : used, leftMs, giveBack }

      function giveBack(amount: number): void {
        const count = window.get(slot)
        if (count !== undefined) window.set(slot, Math.max(0, count - amount))
      }
    }
  }
}

/** The slot whose end frees the last of these units; undefined if there are too few. */
function slotThatFrees(window: Window, units: number): number | undefined {
  let freed = 0
  for (const [slot, count] of [...window].sort(([a], [b]) => a - b)) {
    freed += count
    if (freed >= units) return slot
  }
  return undefined
}

const sharedName = (key: string) => String(createHash('sha256').update(key).digest().readUInt32BE() % sharedWindows)

const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0)

function put<V>(map: Map<string, V>, key: string, value: V): V {
  map.set(key, value)
  return value
}
