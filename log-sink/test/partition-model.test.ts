/**
 * A partition whose sinks are frozen, thawed and killed wherever they wait for the group, in an order that a seed tells,
 * and a group that takes commits of its present generation only. In the end each line is in the files of one sink, once.
 */

import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type Committed, decodeCommit } from '../checkpoint.ts'
import { createNameClock } from '../line-file.ts'
import { openPartition, type PartitionLog, settlePartition } from '../partition-log.ts'
import type { LogRecord } from '../records.ts'

const root = mkdtempSync(join(tmpdir(), 'model-'))
t.teardown(() => rmSync(root, { recursive: true, force: true }))
const seeds = Number(process.env.SEEDS ?? 150)
const firstSeed = Number(process.env.SEED ?? 1)
t.setTimeout(30_000 + seeds * 500)

/** Whole numbers below a limit, always the same ones for a seed. */
function randomFrom(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0 || 1
  return (below) => {
    state = (state ^ (state << 13)) >>> 0
    state = (state ^ (state >>> 17)) >>> 0
    state = (state ^ (state << 5)) >>> 0
    return state % below
  }
}

const lineOf = (count: number) =>
  `{"level":"info","time":"2026-11-24T08:00:00.000Z","service":"svc","instance":"a","msg":"${count}"}\n`

/** Records of one source; some come again, as a producer sends them that had no answer. */
function recordsOf(random: (below: number) => number): { records: LogRecord[]; total: number } {
  const records: LogRecord[] = []
  let reached = 0
  while (records.length < 16) {
    const from = random(5) === 0 ? Math.max(reached - random(3), 1) : reached + 1
    const count = 1 + random(3)
    records.push({
      offset: records.length,
      key: Buffer.from('svc/a'),
      value: Buffer.from(Array.from({ length: count }, (_, index) => lineOf(from + index)).join('')),
      headers: { position: Buffer.from(String(from)) }
    })
    reached = Math.max(reached, from + count - 1)
  }
  return { records, total: reached }
}

interface Sink {
  name: string
  directory: string
  alive: boolean
  /** Where it waits, and what lets it go on; nothing while it has nothing to do. */
  waiting: { at: string; resume: () => void } | undefined
  /** Called when it waits again, or has nothing to do any more. */
  rests: () => void
  log: PartitionLog | undefined
}

async function play(seed: number): Promise<{ found: number[]; total: number; story: string }> {
  const random = randomFrom(seed)
  const { records, total } = recordsOf(random)
  const story: string[] = []
  const group = { generation: 0, owner: '', committed: { offset: -1, said: undefined } as Committed }
  let calm = false
  const clock = createNameClock(Date.now)
  const sinks: Sink[] = ['a', 'b', 'c'].map((name) => {
    const directory = join(root, String(seed), name)
    mkdirSync(directory, { recursive: true })
    return { name, directory, alive: true, waiting: undefined, rests: () => {}, log: undefined }
  })

  const wait = (sink: Sink, at: string) =>
    new Promise<void>((resume) => {
      sink.waiting = { at, resume }
      sink.rests()
    })

  /** What a sink does in one generation; as group-membership.ts and collector.ts do. */
  async function session(sink: Sink, generation: number): Promise<void> {
    await wait(sink, 'joined')
    const committed = group.committed
    let next = Math.max(committed.offset, 0)
    await wait(sink, 'has read the committed offset')
    await settlePartition(sink.name, sink.directory, committed)
    story.push(`${sink.name} has settled at ${committed.offset} ${JSON.stringify(committed.said?.tenures ?? [])}`)
    await wait(sink, 'settled')
    if (group.generation === generation && group.owner !== sink.name) return

    async function commit(offset: number, metadata: string): Promise<void> {
      await wait(sink, `has written up to ${offset}`)
      const taken = group.generation === generation && group.owner === sink.name
      story.push(`${sink.name} commits ${offset}${taken ? '' : ', refused'}`)
      if (!taken) throw new Error('refused')
      group.committed = { offset, said: decodeCommit(metadata) }
      await wait(sink, `has committed ${offset}`)
      if (!calm && random(8) === 0) throw new Error('the answer was lost')
    }

    const log = await openPartition(
      {
        sink: sink.name,
        topic: 'logs',
        partition: 0,
        directory: sink.directory,
        rotate: { bytes: 400, age: 1e9 },
        clock,
        stalled: (error) => Promise.reject(error),
        closed: () => {}
      },
      committed
    )
    sink.log = log
    while (next < records.length) {
      const batch = records.slice(next, next + 1 + random(4))
      next += batch.length
      await log.collect(batch, next, commit)
      await wait(sink, 'done')
    }
  }

  /** Lets a sink go on until it waits again or has nothing to do. */
  async function step(sink: Sink): Promise<void> {
    const { waiting } = sink
    sink.waiting = undefined
    const rested = new Promise<void>((done) => {
      sink.rests = done
    })
    waiting?.resume()
    await rested
  }

  /** What it did before is left where it waits, for ever. */
  async function enter(sink: Sink): Promise<void> {
    await sink.log?.close()
    sink.log = undefined
    session(sink, group.generation)
      .catch(({ message }) => story.push(`${sink.name}: ${message}`))
      .finally(() => sink.rests())
  }

  function kill(sink: Sink): void {
    story.push(`${sink.name} is killed; ${sink.waiting?.at}`)
    sink.alive = false
    sink.waiting = undefined
  }

  async function rebalance(members: Sink[]): Promise<void> {
    // Who joins has come to the end of its batch.
    for (const sink of members) while (sink.waiting && sink.waiting.at !== 'done') await step(sink)
    group.generation += 1
    group.owner = members[random(members.length)]?.name ?? ''
    story.push(`generation ${group.generation}: ${members.map(({ name }) => name)}; ${group.owner} has it`)
    for (const sink of members) await enter(sink)
  }

  for (let generations = 0; generations < 6; generations += 1) {
    for (const sink of sinks) if (!sink.alive) sink.alive = random(2) === 0
    // A frozen sink does not join; it continues later without noticing.
    await rebalance(sinks.filter(({ alive }) => alive && random(3) > 0))
    for (let steps = random(30); steps > 0; steps -= 1) {
      const sink = sinks[random(sinks.length)] as Sink
      if (!sink.alive || !sink.waiting) continue
      if (random(25) === 0) kill(sink)
      else await step(sink)
    }
  }
  // Then nothing fails. Two rounds, so that each sink reads the last commits of the others.
  calm = true
  for (let generations = 0; generations < 2; generations += 1) {
    for (const sink of sinks) sink.alive = true
    await rebalance(sinks)
    for (const sink of sinks) while (sink.waiting) await step(sink)
  }
  for (const { log } of sinks) await log?.close()
  const found = globSync('*/lines-*', { cwd: join(root, String(seed)) }).flatMap((file) =>
    readFileSync(join(root, String(seed), file), 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => Number(JSON.parse(line).msg))
  )
  rmSync(join(root, String(seed)), { recursive: true })
  return { found: found.sort((x, y) => x - y), total, story: story.join('\n') }
}

t.test('each line is collected once, wherever sinks are frozen or killed', async (t) => {
  t.setTimeout(30_000 + seeds * 500)
  for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
    const { found, total, story } = await play(seed)
    const wanted = Array.from({ length: total }, (_, index) => index + 1)
    const isRight = found.length === total && found.every((count, index) => count === wanted[index])
    if (!isRight) {
      t.same(found, wanted, `seed ${seed}`)
      t.comment(story)
      break
    }
  }
  t.pass(`${seeds} seeds`)
})
