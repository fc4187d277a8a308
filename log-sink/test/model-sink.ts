/** A sink of a model of partitions: the real collector and keeper in a process that is stepped, frozen and killed. */

import { mkdirSync } from 'node:fs'
import { Registry } from '@prometheus-io/client'
import { silentLog } from '#common/testing/service.ts'
import { type Collector, createCollector } from '../collector.ts'
import { type Keeper, keepFiles } from '../keeper.ts'
import { sinkMetrics } from '../metrics.ts'
import type { ModelGroup, PartitionRecords, Random } from './model-group.ts'
import { allWait, createProcess, type SteppedProcess } from './stepped-process.ts'

/** The shared parts of the sinks of a model. */
export interface ModelParts {
  group: ModelGroup
  partitions: PartitionRecords[]
  random: Random
  rotate: { bytes: number; age: number }
  /** Whether the phase without kills and lost answers has started. */
  isCalm: () => boolean
  /** Called with each event; the events of a failing seed are printed. */
  report: (event: string) => void
  /** Called with errors that no kill and no rejected commit explains. */
  fault: (error: unknown) => void
}

/** A sink. */
interface ModelSink {
  name: string
  isAlive(): boolean
  canStep(): boolean
  start(): void
  /** Performs one of the operations that the sink waits for, or kills the sink there. */
  step(): Promise<void>
  /** Ends the batch in progress, and joins the present generation. */
  join(): Promise<void>
  kill(at: string): void
}

const betweenBatches = 'between batches'
const files = ['lines.ndjson', 'dead-letters.ndjson']

/** Where a process can be killed: at waits for the group, and in each operation that changes a file. */
export const fatalPoints: readonly string[] = [
  'joined',
  'has read the committed offsets',
  betweenBatches,
  'commit',
  'committed',
  ...['mkdir sink', 'write sink-id.tmp', 'rename sink-id.tmp', 'sync sink', 'mkdir partition', 'sync partition'],
  ...files.flatMap((file) => ['open', 'write', 'sync', 'truncate', 'remove', 'compress'].map((at) => `${at} ${file}`)),
  ...files.flatMap((file) => ['open', 'sync', 'utimes', 'rename', 'remove'].map((at) => `${at} ${file}.gz.tmp`)),
  ...['open', 'write', 'sync', 'rename'].map((at) => `${at} checkpoint.tmp`),
  'rename checkpoint.json',
  'remove checkpoint.previous.json'
]
const harmless = /^(list|stat|read|close|open (partition|sink))\b/

const expected = new Set(['rejected', 'the answer was lost'])
const startOfTime = Date.UTC(2026, 10, 24)

export function createModelSink(name: string, directory: string, parts: ModelParts): ModelSink {
  const { group, partitions, random, rotate, isCalm, report, fault } = parts
  let process: SteppedProcess | undefined
  let collector: Collector
  let stop: AbortController
  let isCollecting = false
  let fate = { at: '', after: 0 }

  function start(): void {
    mkdirSync(directory, { recursive: true })
    // Each start may find the clock set back or forward.
    let time = startOfTime + random(1000)
    const now = () => time++
    stop = new AbortController()
    isCollecting = false
    fate = { at: fatalPoints[random(fatalPoints.length)] as string, after: random(4) }
    const registry = new Registry()
    const metrics = sinkMetrics(registry, () => 0)
    const log = Object.assign(Object.create(silentLog), {
      error: ({ event, err }: { event: string; err: unknown }) => fault(new Error(event, { cause: err })),
      warn: ({ event }: { event: string }) => event === 'log_lines_missing' && fault(new Error(event))
    })
    process = createProcess()
    process.run(() => {
      const keeper: Keeper = keepFiles(directory, Number.MAX_SAFE_INTEGER, () => {}, log)
      collector = createCollector({ directory, topic: 'logs', rotate, keeper, metrics, log, now }, stop.signal)
      // The first task of start(), without its timer.
      keeper.take([])
    })
  }

  /** One generation of group-membership.ts. */
  async function collect({ wait }: SteppedProcess): Promise<void> {
    const { generation } = group
    const owned = group.owned(name)
    await wait('joined')
    const committed = new Map(group.committed)
    await wait('has read the committed offsets')
    await collector.onAssigned(owned, committed)
    report(`${name} has recovered at ${[...committed].map(([partition, { offset }]) => `${partition}:${offset}`)}`)
    const next = new Map(owned.map((partition) => [partition, Math.max(committed.get(partition)?.offset ?? 0, 0)]))
    const recordsLeft = (partition: number) => partitions[partition]?.records.slice(next.get(partition)) ?? []
    for (;;) {
      const behind = owned.filter((partition) => recordsLeft(partition).length > 0)
      if (behind.length === 0) return
      await wait(betweenBatches)
      const partition = behind[random(behind.length)] as number
      const records = recordsLeft(partition).slice(0, 1 + random(4))
      const end = (next.get(partition) ?? 0) + records.length
      next.set(partition, end)

      async function commit(offset: number, metadata: string): Promise<void> {
        await wait('commit')
        const taken = group.commit(generation, partition, offset, metadata)
        report(`${name} commits ${partition}:${offset}${taken ? '' : ', rejected'}`)
        if (!taken) throw new Error('rejected')
        await wait('committed')
        if (!isCalm() && random(8) === 0) throw new Error('the answer was lost')
      }
      await collector.collect(
        { partition, records, next: end, end, writtenAt: 0 },
        { commit, heartbeat: async () => {} }
      )
    }
  }

  const canStep = () => process !== undefined && process.points.length > 0

  async function stepAmong(isMeant: (at: string) => boolean, mayKill: boolean): Promise<void> {
    const meant = process?.points.filter(({ at }) => isMeant(at)) ?? []
    const point = meant[random(meant.length)]
    if (!process || !point) return
    process.points.splice(process.points.indexOf(point), 1)
    if (!harmless.test(point.at) && !fatalPoints.includes(point.at))
      fault(new Error(`${point.at} is missing in fatalPoints`))
    if (!mayKill || point.at !== fate.at || fate.after-- > 0) point.perform().settle()
    else {
      const moment = random(point.performPart ? 3 : 2)
      if (moment === 1) point.perform()
      if (moment === 2) point.performPart?.(random)
      kill(`${['before', 'after', 'in'][moment]} ${point.at}`)
    }
    await allWait()
  }

  function kill(at: string): void {
    report(`${name} is killed ${at}`)
    stop.abort()
    process?.kill()
    process = undefined
  }

  return {
    name,
    isAlive: () => process !== undefined,
    canStep,
    start,
    step: () => stepAmong(() => true, !isCalm()),
    async join() {
      const isMeant = (at: string) => at !== betweenBatches
      const isInBatch = () => isCollecting && !process?.points.some(({ at }) => at === betweenBatches)
      // A collector that waits for its disk has no point.
      while (isInBatch() && process?.points.some(({ at }) => isMeant(at))) await stepAmong(isMeant, false)
      if (!process || isInBatch()) return
      const joined = process
      joined.points = joined.points.filter(({ at }) => isMeant(at))
      isCollecting = true
      joined
        .run(() => collect(joined))
        .catch((error) => {
          report(`${name}: ${error.message}`)
          if (!expected.has(error.message)) fault(error)
        })
        .finally(() => {
          if (process === joined) isCollecting = false
        })
      await allWait()
    },
    kill
  }
}
