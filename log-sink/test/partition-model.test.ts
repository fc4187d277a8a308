/**
 * Sinks are frozen, continued and killed at each wait for the group and in each file operation, in an order that a seed
 * determines, while partitions change their owners. In the end each line is once in the files of one sink, and files are
 * ordered by name.
 *
 * `SEEDS=3000 make test FILES=log-sink/test/partition-model.test.ts` is the long form. `SEED=17 SEEDS=1` repeats one.
 */

import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { createModelGroup, type PartitionRecords, randomFrom, recordsOf } from './model-group.ts'
import { createModelSink, fatalPoints, type ModelParts } from './model-sink.ts'
import { replaceFileOperations } from './stepped-process.ts'

const root = mkdtempSync(join(tmpdir(), 'model-'))
const restore = replaceFileOperations()
t.teardown(() => {
  restore()
  rmSync(root, { recursive: true, force: true })
})
const seeds = Number(process.env.SEEDS ?? 150)
const firstSeed = Number(process.env.SEED ?? 1)
const timeoutMs = 60_000 + seeds * 2000
t.setTimeout(timeoutMs)
/** How many processes were killed at each point. */
const kills = new Map<string, number>()

interface Ending {
  directory: string
  partitions: PartitionRecords[]
  faults: unknown[]
  story: string[]
}

async function play(seed: number): Promise<Ending> {
  const random = randomFrom(seed)
  const directory = join(root, String(seed))
  const story: string[] = []
  const faults: unknown[] = []
  let calm = false
  const partitions = [recordsOf(random, 16), recordsOf(random, 10)]
  const group = createModelGroup(partitions.length)
  const parts: ModelParts = {
    group,
    partitions,
    random,
    rotate: { bytes: 100 + random(400), age: 60 },
    isCalm: () => calm,
    report: (event) => story.push(event),
    fault: (error) => faults.push(error)
  }
  const sinks = ['sink-1', 'sink-2', 'sink-3'].map((name) => createModelSink(name, join(directory, name), parts))

  async function rebalance(members: typeof sinks): Promise<void> {
    const names = members.map(({ name }) => name)
    group.assign(names, random)
    story.push(`generation ${group.generation}: ${names}`)
    for (const sink of members) await sink.join()
  }

  for (let generations = 0; generations < 8; generations += 1) {
    for (const sink of sinks) if (!sink.isAlive() && random(3) > 0) sink.start()
    // A frozen sink does not join; it continues later without noticing.
    await rebalance(sinks.filter((sink) => sink.isAlive() && random(3) > 0))
    for (let steps = random(800); steps > 0; steps -= 1) {
      const sink = sinks[random(sinks.length)]
      if (sink?.canStep()) await sink.step()
    }
  }
  // Two rounds without failures, so that each sink reads the last commits of the others.
  calm = true
  for (let generations = 0; generations < 2; generations += 1) {
    for (const sink of sinks) if (!sink.isAlive()) sink.start()
    await rebalance(sinks)
    for (const sink of sinks) while (sink.canStep()) await sink.step()
  }
  for (const sink of sinks) sink.kill('at the end')
  for (const event of story) {
    const [, at] = /is killed (?:before|in|after) (.*)/.exec(event) ?? []
    if (at) kills.set(at, (kills.get(at) ?? 0) + 1)
  }
  return { directory, partitions, faults, story }
}

/** The numbers of the lines in the files of a partition, by sink, each in the order of the names. */
function numbersIn(directory: string, partition: number, kind: 'lines' | 'dead-letters'): number[][] {
  const files = globSync(`*/partition-${partition}/${kind}-*`, { cwd: directory }).sort()
  const sinks = Map.groupBy(files, (file) => dirname(file))
  return [...sinks.values()].map((own) =>
    own
      .toSorted((x, y) => (basename(x) < basename(y) ? -1 : 1))
      .flatMap((file) => {
        const bytes = readFileSync(join(directory, file))
        const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
        return text.split('\n').slice(0, -1)
      })
      .map((line) => Number(/(\d+)"}$/.exec(line)?.[1]))
  )
}

const ascending = (numbers: number[]) => numbers.toSorted((x, y) => x - y)

/** The errors in the files: missing or repeated lines, lines out of order, drafts. */
function wrongOf({ directory, partitions, faults }: Ending): string[] {
  const wrong = faults.map((error) => `${error} ${(error as Error).cause ?? ''}`)
  for (const [partition, { sound, broken }] of partitions.entries()) {
    for (const [kind, wanted] of [
      ['lines', sound],
      ['dead-letters', broken]
    ] as const) {
      const bySink = numbersIn(directory, partition, kind)
      const found = ascending(bySink.flat())
      if (String(found) !== String(ascending(wanted))) wrong.push(`${kind} of ${partition}: ${found} for ${wanted}`)
      for (const own of bySink) if (String(own) !== String(ascending(own))) wrong.push(`${kind} in disorder: ${own}`)
    }
  }
  const drafts = globSync('**/*.gz.tmp', { cwd: directory })
  return [...wrong, ...drafts.map((name) => `a draft is left: ${name}`)]
}

t.test('collects each line once, wherever sinks are frozen or killed', async (t) => {
  t.setTimeout(timeoutMs)
  for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
    const ending = await play(seed)
    const wrong = wrongOf(ending)
    rmSync(ending.directory, { recursive: true })
    if (wrong.length > 0) {
      t.same(wrong, [], `seed ${seed}`)
      t.comment(ending.story.join('\n'))
      return
    }
  }
  t.pass(`${seeds} seeds`)
  const counts = fatalPoints.map((at) => `${at} ${kills.get(at) ?? 0}`)
  t.comment(`killed at: ${counts.join(', ')}`)
  if (seeds < 3000) return
  // The draft that an earlier kill left is removed too rarely for each kind of file.
  const wanted = fatalPoints.filter((at) => !/^remove .*\.gz\.tmp$/.test(at))
  t.same(
    wanted.filter((at) => !kills.has(at)),
    [],
    'processes were killed at every point'
  )
})
