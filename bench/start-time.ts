/** How long `make run` takes to the word `ready`, with everything installed. */

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Part } from './bench.ts'
import { figure, type Measurement, median, spread } from './measurement.ts'
import { startProduct } from './product.ts'

const goalSeconds = 10
const starts = 4

/** Starts it several times on a new data directory, and as many times again on one that is there. */
export const measureStart: Part = async ({ product, quick, dataDir }) => {
  if (quick) {
    const seconds = product.startedInMs / 1000
    return [row(seconds, 'one start on a new data directory', { first: [seconds] })]
  }
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
  const from = `on a new data directory ${spread(first, 1)} s, on one that is there ${spread(again, 1)} s; ${starts} starts each`
  return [row(Math.max(median(first), median(again)), from, { first, again })]
}

function row(seconds: number, from: string, figures: object): Measurement {
  return {
    what: 'make run, everything installed, to ready',
    goal: `≤ ${goalSeconds} s`,
    value: `${figure(seconds, 1)} s`,
    passed: seconds <= goalSeconds,
    from,
    figures
  }
}
