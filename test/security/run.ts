/** `make test-security`: the long forms of the security tests; the last lines are a table. */

import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { onStop } from '../../stack/stop-signals.ts'
import { startTestEngines } from '../engines.ts'
import { testConformance } from './conformance.ts'
import { type Condition, conditions, type Part, type Row } from './part.ts'
import { testOperations } from './schemathesis.ts'
import { detectMissingDecoys, measureHashTimes, measureTimes } from './timing.ts'

const parts: Record<string, Part> = {
  conformance: testConformance,
  schemathesis: testOperations,
  timing: measureTimes,
  'hash-timing': measureHashTimes,
  decoys: detectMissingDecoys
}

const root = join(import.meta.dirname, '..', '..')
process.chdir(root)
const { values } = parseArgs({
  options: {
    parts: { type: 'string', default: '' },
    samples: { type: 'string', default: '10000' },
    conditions: { type: 'string', default: conditions.join() }
  }
})
const samples = Number(values.samples)
if (!(Number.isInteger(samples) && samples >= 100)) throw new Error('SAMPLES must be a whole number of at least 100')
const chosenConditions = values.conditions.split(',').map(conditionOf)
const chosen = values.parts === '' ? Object.keys(parts) : values.parts.split(',')
const print = (line: string) => console.log(line)
const stopped = new AbortController()
onStop(
  (reason) => {
    print(`${reason}: stopping`)
    stopped.abort()
  },
  () => process.exit(130)
)

const rows = await run().catch((error) => {
  if (!stopped.signal.aborted) console.error(error)
  return undefined
})
for (const { name, outcome, details } of rows ?? []) print(`${outcome.padEnd(8)} ${name.padEnd(44)} ${details}`)
if (rows) print(counts(rows))
process.exit(rows?.every(({ outcome }) => outcome !== 'failed') ? 0 : 1)

function conditionOf(name: string): Condition {
  const found = conditions.find((condition) => condition === name)
  if (found === undefined) throw new Error(`CONDITIONS=${name}: must be some of ${conditions.join(', ')}`)
  return found
}

async function run(): Promise<Row[]> {
  const engines = await startTestEngines(root, print, stopped.signal)
  Object.assign(process.env, engines.environment)
  try {
    const all: Row[] = []
    for (const name of chosen) all.push(...(await runPart(name)))
    return all
  } finally {
    await engines.stop()
  }
}

/** The last line. A part whose tool is missing fails nothing, but must be seen. */
function counts(rows: Row[]): string {
  const named = (outcome: Row['outcome']) => rows.filter((row) => row.outcome === outcome).map(({ name }) => name)
  const [failed, skipped] = [named('failed'), named('skipped')]
  const total = `${named('passed').length} passed, ${failed.length} failed, ${skipped.length} skipped`
  return skipped.length === 0 ? total : `${total}: NOT TESTED for lack of a tool: ${skipped.join(', ')}`
}

/** A part that throws is a failed row, so that the other parts run. */
async function runPart(name: string): Promise<Row[]> {
  const part = parts[name]
  if (part === undefined) throw new Error(`PARTS=${name}: must be some of ${Object.keys(parts).join(', ')}`)
  print(`-- ${name}`)
  const ends: (() => unknown)[] = []
  const t = { teardown: (end: () => unknown) => void ends.unshift(end) } as never
  try {
    return await part({ t, print, signal: stopped.signal, samples, conditions: chosenConditions })
  } catch (error) {
    stopped.signal.throwIfAborted()
    return [{ name, outcome: 'failed', details: String(error) }]
  } finally {
    for (const end of ends) await end()
  }
}
