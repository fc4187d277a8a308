/** Spools and shippers for tests: the shipper sends to an array, and its clock is advanced by the test. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { ship } from '#common/logging/spool/shipper.ts'
import type { ShipperOptions } from '#common/logging/spool/shipper-options.ts'
import { openSpool, type Spool } from '#common/logging/spool/spool.ts'
import { acquireLease, leaseFile } from '#common/process/directory-lease.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { until } from '#common/testing/until.ts'

const instance = 'host-1'

/** The spool of a process, and its events. */
export function newSpool(t: Test, segmentBytes = 1000) {
  const directory = t.testdir({})
  const dropped: [number, string][] = []
  const disk: (string | undefined)[] = []
  const open = (name = instance) =>
    openSpool(join(directory, name), segmentBytes, {
      dropped: (count, reason) => void dropped.push([count, reason]),
      disk: (error) => void disk.push((error as NodeJS.ErrnoException | undefined)?.code)
    })
  return { directory, own: join(directory, instance), dropped, disk, spool: open(), open }
}

/** A batch that a shipper has sent. */
interface Sent {
  source: string
  position: number
  lines: string[]
  partition: number
}

/** Ships to an array until it is ended. */
export function startShipping(directory: string, options: Partial<ShipperOptions> = {}, failing = false) {
  const sent: Sent[] = []
  const dropped: [number, string][] = []
  const state = { shipped: 0, bytes: 0, failing, failures: 0 }
  const clock = createTestClock()
  const [stop, cutOff] = [new AbortController(), new AbortController()]
  const ended = ship(
    {
      service: 'svc',
      instance,
      directory,
      maxBytes: 2 ** 20,
      clock,
      async send(source, { position, bytes }, partition) {
        if (state.failing) throw new Error('no broker')
        sent.push({ source, position, lines: bytes.toString().split('\n').slice(0, -1), partition })
        return 3
      },
      ...options
    },
    {
      shipped: (count) => {
        state.shipped += count
      },
      dropped: (count, reason) => void dropped.push([count, reason]),
      bytes: (bytes) => {
        state.bytes = bytes
      },
      brokers: (error) => {
        if (error !== undefined) state.failures += 1
      },
      disk: () => {}
    },
    { stop: stop.signal, cutOff: cutOff.signal }
  )
  return {
    sent,
    dropped,
    state,
    clock,
    lines: () => sent.flatMap((each) => each.lines),
    droppedCount: () => dropped.reduce((sum, [count]) => sum + count, 0),
    /** Advances the clock until a condition holds. */
    until: (holds: () => boolean) =>
      until('the state of the shipper', async () => {
        if (!holds()) await clock.advance(250)
        return holds()
      }),
    async end() {
      stop.abort()
      return ended
    },
    cutOff() {
      stop.abort()
      cutOff.abort()
      return ended
    }
  }
}

export const numbered = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => `line ${String(from + index).padStart(4, '0')}`)

/** Writes each line by itself. */
export function writeEach(spool: Spool, lines: string[]): void {
  for (const line of lines) {
    spool.write(`${line}\n`)
    spool.flush()
  }
}

/** Writes the owner file of a process that is alive or has ended. */
export function own(directory: string, isAlive: boolean): void {
  acquireLease(leaseFile(directory), 1000)
  const file = join(directory, 'owner.json')
  const owner = JSON.parse(readFileSync(file, 'utf8'))
  // Linux assigns no process id this high.
  if (!isAlive) writeFileSync(file, JSON.stringify({ ...owner, pid: 4_194_303 }))
}
