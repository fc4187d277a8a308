/** Time from `make run`, with everything installed, to the word `ready`. */

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { figure, type Measurement, median, spread } from './measurement.ts'
import type { Part } from './part.ts'
import { startProduct } from './product.ts'

const goalSeconds = 10
const starts = 4

/** Starts it several times on a new data directory, each time followed by a start on the existing one. */
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
  const details = `new data directory ${spread(first, 1)} s, existing one ${spread(again, 1)} s; ${starts} starts each`
  return [row(Math.max(median(first), median(again)), details, { first, again })]
}

function row(seconds: number, details: string, figures: object): Measurement {
  return {
    name: 'make run, everything installed, to ready',
    goal: `≤ ${goalSeconds} s`,
    value: `${figure(seconds, 1)} s`,
    passed: seconds <= goalSeconds,
    details,
    figures
  }
}
