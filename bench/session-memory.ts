/** Memory of a live session in Redis, with one session for each user. */

import { setTimeout as sleep } from 'node:timers/promises'
import { figure } from './measurement.ts'
import type { Part } from './part.ts'
import type { Stores } from './population.ts'

const goalBytes = 350

export const measureSessionMemory: Part = async ({ stores, quick }) => {
  const count = quick ? 20_000 : 100_000
  const before = await usedMemory(stores)
  await stores.addSessions(count)
  const bytes = ((await usedMemory(stores)) - before) / count
  return [
    {
      name: 'memory of a live session in Redis',
      goal: `≤ ${goalBytes} bytes`,
      value: `${figure(bytes)} bytes`,
      passed: bytes <= goalBytes,
      details: `growth of used_memory by ${figure(count)} sessions`,
      figures: { bytes, count }
    }
  ]
}

/** `used_memory` when it is stable: Redis frees buffers and rehashes tables with a delay. */
export async function usedMemory({ redis }: Stores): Promise<number> {
  let last = 0
  for (let sample = 0; sample < 40; sample += 1) {
    const now = Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1])
    if (Math.abs(now - last) < 4096) return now
    last = now
    await sleep(250)
  }
  return last
}
