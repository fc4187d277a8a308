/** What a live session takes of Redis's memory, all told, when every user has one. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Part } from './bench.ts'
import { figure } from './measurement.ts'
import type { Stores } from './population.ts'

const goalBytes = 350

export const measureSessionMemory: Part = async ({ stores, quick }) => {
  const count = quick ? 20_000 : 100_000
  const before = await usedMemory(stores)
  await stores.addSessions(count)
  const bytes = ((await usedMemory(stores)) - before) / count
  return [
    {
      what: 'memory of a live session in Redis',
      goal: `≤ ${goalBytes} bytes`,
      value: `${figure(bytes)} bytes`,
      passed: bytes <= goalBytes,
      from: `used_memory before and after ${figure(count)} sessions of as many users`,
      figures: { bytes, count }
    }
  ]
}

/** Bytes, once they have stopped to change: buffers are freed and tables rehashed a little later. */
export async function usedMemory({ redis }: Stores): Promise<number> {
  let last = 0
  for (let look = 0; look < 40; look += 1) {
    const now = Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1])
    if (Math.abs(now - last) < 4096) return now
    last = now
    await sleep(250)
  }
  return last
}
