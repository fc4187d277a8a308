/** A model of a consumer group: records, owners and commits of the present generation. */

import { type Committed, decodeCommit } from '../checkpoint.ts'
import type { LogRecord } from '../records.ts'

/** Whole numbers below a limit, reproducible from a seed. */
export type Random = (below: number) => number

export function randomFrom(seed: number): Random {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0 || 1
  return (below) => {
    state = (state ^ (state << 13)) >>> 0
    state = (state ^ (state >>> 17)) >>> 0
    state = (state ^ (state << 5)) >>> 0
    return state % below
  }
}

/** A line with a number; a broken one becomes a dead letter. */
function lineOf(number: number, isBroken: boolean): string {
  if (isBroken) return `no log line ${number}\n`
  return `{"level":"info","time":"2026-11-24T08:00:00.000Z","service":"svc","instance":"a","msg":"${number}"}\n`
}

/** The records of a partition, and the numbers of its lines. */
export interface PartitionRecords {
  records: LogRecord[]
  sound: number[]
  broken: number[]
}

/** Records of one source; some are repeated, as by a producer that got no answer. */
export function recordsOf(random: Random, count: number): PartitionRecords {
  const records: LogRecord[] = []
  const broken = new Set<number>()
  let last = 0
  while (records.length < count) {
    const from = random(5) === 0 ? Math.max(last - random(3), 1) : last + 1
    const numbers = Array.from({ length: 1 + random(3) }, (_, index) => from + index)
    for (const number of numbers) if (number > last && random(6) === 0) broken.add(number)
    records.push({
      offset: records.length,
      key: Buffer.from('svc/a'),
      value: Buffer.from(numbers.map((number) => lineOf(number, broken.has(number))).join('')),
      headers: { position: Buffer.from(String(from)) }
    })
    last = Math.max(last, ...numbers)
  }
  const all = Array.from({ length: last }, (_, index) => index + 1)
  return { records, sound: all.filter((number) => !broken.has(number)), broken: [...broken] }
}

/** A group of sinks. */
export interface ModelGroup {
  generation: number
  committed: Map<number, Committed>
  /** Starts a generation: each partition gets an owner. */
  assign(members: string[], random: Random): void
  owned(member: string): number[]
  /** The coordinator checks the generation of a member, not the owner of the partition. */
  commit(generation: number, partition: number, offset: number, metadata: string): boolean
}

export function createModelGroup(partitions: number): ModelGroup {
  const owners: string[] = []
  const all = Array.from({ length: partitions }, (_, partition) => partition)
  return {
    generation: 0,
    committed: new Map(all.map((partition) => [partition, { offset: -1, commitMetadata: undefined }])),
    assign(members, random) {
      this.generation += 1
      for (const partition of all) owners[partition] = members[random(members.length)] ?? ''
    },
    owned: (member) => all.filter((partition) => owners[partition] === member),
    commit(generation, partition, offset, metadata) {
      if (generation !== this.generation) return false
      this.committed.set(partition, { offset, commitMetadata: decodeCommit(metadata) })
      return true
    }
  }
}
