/** How long `make run` takes to the word `ready`, with everything installed. */

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { figure, type Measurement, median, spread } from './measurement.ts'
import { startProduct } from './product.ts'

const goalSeconds = 10

/** Starts it several times on a new data directory, and as many times again on one that is there. */
export async function measureStart(dataDir: string, quick: boolean): Promise<Measurement[]> {
  const starts = quick ? 1 : 4
  const first: number[] = []
  const again: number[] = []
  for (let start = 0; start < starts; start += 1) {
    const directory = join(dataDir, `start-${start}`)
    for (const seconds of [first, again]) {
      const product = await startProduct(directory, {}, ['make', '--silent', 'run'])
      seconds.push(product.startedInMs / 1000)
      await product.stop()
    }
    rmSync(directory, { recursive: true })
  }
  const slower = Math.max(median(first), median(again))
  return [
    {
      what: 'make run, everything installed, to ready',
      goal: `≤ ${goalSeconds} s`,
      value: `${figure(slower, 1)} s`,
      passed: slower <= goalSeconds,
      from: `on a new data directory ${spread(first, 1)} s, on one that is there ${spread(again, 1)} s; ${starts} starts each`,
      figures: { first, again }
    }
  ]
}
