/** Ships what waits in the disk buffer: the lines of the own process, and of processes that are gone. In order, for as long as it takes. */

import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Ownership, takeOwnership } from '#common/process/directory-lease.ts'
import { backoffMs } from '#common/time/backoff.ts'
import type { Batch } from './batch.ts'
import { writeDeadLetter } from './dead-letters.ts'
import { namesIn, sourceStaleMs } from './layout.ts'
import { behind, createPieceSize, RecordTooLargeError } from './piece-size.ts'
import { retain } from './retention.ts'
import { openSource, type Source } from './source.ts'
import type { DropReason } from './spool.ts'

/** What the shipper is told. */
export interface ShipperOptions {
  service: string
  /** The own process's; its directory is `<directory>/<instance>`. */
  instance: string
  /** The spool of the service, with a directory for each source. */
  directory: string
  /** The most that all sources together may take on the disk. */
  maxBytes: number
  /**
   * Gives lines to the brokers; resolves, once all replicas have them, to the partition that they are in; rejects with a
   * RecordTooLargeError if they are too many at once.
   * Without it nothing is shipped, and the buffer is only kept within its limit.
   */
  send: ((source: string, batch: Batch, partition: number) => Promise<number>) | undefined
  /** The buffer is the place of the log: what is removed at the limit has been retained long enough, and is not lost. */
  retains?: boolean
}

/** What the shipper tells. */
export interface ShipperEvents {
  shipped(count: number): void
  dropped(count: number, reason: DropReason): void
  /** The bytes that wait or are not yet removed. */
  bytes(bytes: number): void
  /** The brokers do not take lines (with the reason), or take them again. */
  brokers(error: unknown): void
  /** The disk does not take the notes (with the reason), or takes them again. */
  disk(error: unknown): void
}

// A broker takes at most 1 MiB at once.
const batchBytes = 512 * 1024
// Lines are gathered for a while: a record costs the brokers and the sinks the same, whether it is small or large. The
// fewer come, the longer it takes until there are enough to be worth one.
const lingerMs = (bytes: number) => (bytes < 16 * 1024 ? 1000 : 250)
const housekeepingMs = 1000
const adoptMs = 5000
// A directory without an owner is one that is being made, or one whose owner could not even write that down.
const ownerlessMs = 60_000
const retryBackoff = { baseMs: 100, capMs: 1000 }
// A connection that closes is most often a broker that stops, behind a proxy for hours: smaller pieces would not help.
const leastRequestBytes = 128 * 1024

/** Ships until `stop` aborts; then on until all is shipped, the brokers fail or `cutOff` aborts. @returns whether all is shipped */
export async function ship(
  options: ShipperOptions,
  events: ShipperEvents,
  stop: AbortSignal,
  cutOff: AbortSignal
): Promise<boolean> {
  const { service, instance, directory, maxBytes, send, retains = false } = options
  const buffer = Buffer.allocUnsafe(batchBytes)
  const pieceSize = createPieceSize()
  const adopted = new Map<Source, Ownership>()
  const ownDirectory = join(directory, instance)
  let own: Source | undefined
  let gaveUp = false
  let keptAt = Number.NEGATIVE_INFINITY
  let adoptedAt = Number.NEGATIVE_INFINITY

  function sources(): Source[] {
    return [...adopted.keys(), ...(own ? [own] : [])]
  }

  function heldBytes(): number {
    return sources().reduce((sum, source) => sum + source.bytes(), 0)
  }

  /** Keeps the buffer within its limit, and takes over what dead processes have left. */
  function housekeep(): void {
    const now = performance.now()
    if (now - keptAt < housekeepingMs) return
    keptAt = now
    mkdirSync(ownDirectory, { recursive: true, mode: 0o700 })
    own ??= openSource(`${service}/${instance}`, ownDirectory, events.dropped)
    if (now - adoptedAt >= adoptMs && (send !== undefined || retains)) {
      adoptedAt = now
      adoptOrphans()
    }
    for (const ownership of adopted.values()) ownership.renew()
    if (retains) retain(own, adopted, maxBytes)
    else while (heldBytes() > maxBytes && sources().some((source) => source.dropOldest()));
    events.bytes(heldBytes())
  }

  function adoptOrphans(): void {
    for (const name of namesIn(directory)) {
      const path = join(directory, name)
      if (name === instance || !statSync(path).isDirectory() || sources().some((source) => source.directory === path))
        continue
      const names = namesIn(path)
      const isNew = !names.includes('owner.json') && Math.abs(Date.now() - statSync(path).mtimeMs) < ownerlessMs
      const ownership = isNew ? undefined : takeOwnership(path, sourceStaleMs)
      if (ownership) adopted.set(openSource(`${service}/${name}`, path, events.dropped), ownership)
    }
  }

  /** One batch of each source. @returns the bytes of the largest: more may wait behind what fills a batch */
  async function shipRound(deliver: NonNullable<ShipperOptions['send']>): Promise<number> {
    let largest = 0
    for (const source of sources()) {
      const batch = source.next(buffer)
      if (batch === undefined) {
        if (adopted.delete(source)) source.remove()
        continue
      }
      largest = Math.max(largest, batch.bytes.length)
      const partition = await delivered(deliver, source, batch)
      if (partition === undefined) {
        gaveUp = true
        return 0
      }
      acknowledge(source, partition)
    }
    return largest
  }

  /** A note that cannot be written is written after the next batch; until then a crash sends some lines twice. */
  function acknowledge(source: Source, partition: number): void {
    try {
      source.acknowledge(partition)
      events.disk(undefined)
    } catch (error) {
      events.disk(error)
    }
  }

  /** Retries until the brokers have a batch, in as many pieces as it takes. @returns its partition, or nothing if it is time to end */
  async function delivered(
    deliver: NonNullable<ShipperOptions['send']>,
    source: Source,
    batch: Batch
  ): Promise<number | undefined> {
    let partition = source.partition()
    let waiting: Batch | undefined = batch
    let retry = 0
    while (waiting !== undefined) {
      const sent: Batch = waiting
      const piece = pieceSize.piece(sent)
      try {
        partition = await deliver(source.name, piece, partition)
        events.brokers(undefined)
        events.shipped(piece.count)
        waiting = behind(sent, piece)
        retry = 0
      } catch (error) {
        const maySplit = piece.count > 1 && piece.bytes.length > leastRequestBytes
        if (error instanceof RecordTooLargeError && (error.isCertain || maySplit)) {
          if (piece.count > 1) pieceSize.rejected(piece)
          else {
            deadLetter(source, piece)
            waiting = behind(sent, piece)
          }
          if (cutOff.aborted) return undefined
          continue
        }
        events.brokers(error)
        if (stop.aborted || cutOff.aborted) return undefined
        await pause(backoffMs(retry, retryBackoff), stop)
        housekeep()
        retry += 1
      }
    }
    return partition
  }

  /** The position of the line stays empty, as that of every dropped line: the sinks count it as missing, too. */
  function deadLetter(source: Source, { position, bytes }: Batch): void {
    try {
      writeDeadLetter(directory, source.name, position, bytes)
    } catch (error) {
      events.disk(error)
    }
    events.dropped(1, 'too_large')
  }

  let complete = false
  for (;;) {
    housekeep()
    const shippedBytes = send === undefined ? 0 : await shipRound(send)
    if (cutOff.aborted) break
    const isUrgent = stop.aborted || heldBytes() > maxBytes / 4
    if (shippedBytes > (isUrgent ? 0 : batchBytes / 2)) continue
    if (stop.aborted) {
      complete = send !== undefined && !gaveUp && sources().every((source) => source.next(buffer) === undefined)
      break
    }
    await pause(lingerMs(shippedBytes), stop)
  }
  for (const [source, ownership] of adopted) {
    source.close()
    ownership.leave()
  }
  if (complete) own?.remove()
  else own?.close()
  return complete
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {})
}
