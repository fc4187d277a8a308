/** Checks the linearizability of the product: `node test/linearizability/run.ts --operations=100000 --seed=7`. */

import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { onStop } from '../../stack/stop-signals.ts'
import type { BrokenProduct } from './broken-product.ts'
import { checkLinearizability, startBed } from './check.ts'
import { buildChecker } from './checker.ts'
import { printResult } from './report.ts'

process.chdir(join(import.meta.dirname, '..', '..'))
const { values } = parseArgs({
  options: {
    operations: { type: 'string', default: '100000' },
    seed: { type: 'string' },
    broken: { type: 'string' },
    pauses: { type: 'string', default: '1' },
    addresses: { type: 'string', default: '12' },
    length: { type: 'string', default: '60' },
    validations: { type: 'string', default: '0' }
  }
})
const ends: (() => unknown)[] = []
async function end(): Promise<void> {
  for (const each of ends.splice(0)) await each()
}
onStop(
  async () => {
    await end()
    process.exit(130)
  },
  () => process.exit(130)
)

const missing = await buildChecker()
if (missing !== undefined) {
  console.log(`skipped: ${missing}`)
  process.exit(0)
}
const seed = Number(values.seed || Math.floor(Math.random() * 2 ** 31))
const print = (line: string) => console.log(line)
const result = await check().finally(end)
printResult(result, seed, print)
process.exit(result.violations.length > 0 ? 1 : 0)

async function check() {
  const bed = await startBed({ teardown: (each: () => unknown) => void ends.unshift(each) } as never, { print })
  return checkLinearizability(bed, {
    operations: Number(values.operations),
    seed,
    broken: values.broken as BrokenProduct | undefined,
    pauseFactor: Number(values.pauses),
    concurrentAddresses: Number(values.addresses),
    operationsPerAddress: Number(values.length),
    extraValidations: Number(values.validations)
  })
}
