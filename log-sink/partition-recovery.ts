/** Recovers the files of a partition: cuts them back to a checkpoint, and finds where collecting continues. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Checkpoint, type Committed, selectCheckpoint } from './checkpoint.ts'
import { keepCheckpoint, readCheckpoints } from './checkpoint-files.ts'
import { cutToMark, type FileKind, lastMark, type NameClock, plainFiles } from './line-file.ts'

/**
 * Cuts the files of a partition back to the checkpoint that the committed offset selects. This includes partitions that
 * other sinks own now, and comes before any sink reads on.
 */
export async function recoverPartition(
  sink: string,
  directory: string,
  committed: Committed
): Promise<Checkpoint | undefined> {
  const own = await readCheckpoints(directory)
  const checkpoint = selectCheckpoint(sink, own, committed)
  if (checkpoint === undefined) return undefined
  // The selection is stored first: later commits may no longer carry enough history to repeat it, and every start cuts.
  if (checkpoint !== own[0]) await keepCheckpoint(directory, checkpoint)
  await cutToMark(directory, 'lines', checkpoint.lines)
  await cutToMark(directory, 'dead-letters', checkpoint.deadLetters)
  return checkpoint
}

/** The files of a recovered partition that are complete: all except the last of each kind. */
export async function completeFiles(directory: string): Promise<string[]> {
  const kinds: FileKind[] = ['lines', 'dead-letters']
  const names = await Promise.all(kinds.map((kind) => plainFiles(directory, kind)))
  return names.flatMap((each) => each.slice(0, -1).map((name) => join(directory, name)))
}

/** Makes the names of new files sort behind those of a partition, including removed files that a checkpoint marks. */
export async function observeNames(directory: string, clock: NameClock): Promise<void> {
  for (const name of await readdir(directory)) clock.observe(name)
  for (const { lines, deadLetters } of await readCheckpoints(directory)) {
    clock.observe(lines?.name ?? '')
    clock.observe(deadLetters?.name ?? '')
  }
}

/** The state at which a sink starts to collect: its own checkpoint, or the state in the commit of another sink. */
export async function startingCheckpoint(
  sink: string,
  directory: string,
  { offset, commitMetadata }: Committed,
  own: Checkpoint | undefined
): Promise<Checkpoint> {
  const history = commitMetadata?.ownershipHistory ?? []
  const isOwner = history.at(-1)?.[0] === sink
  if (isOwner && own?.offset === offset) return own
  return {
    // Without a commit all records are read; the positions identify the lines that have been collected.
    offset: Math.max(offset, 0),
    lines: own?.lines ?? (await lastMark(directory, 'lines')),
    deadLetters: own?.deadLetters ?? (await lastMark(directory, 'dead-letters')),
    positions: commitMetadata?.positions ?? own?.positions ?? { complete: offset <= 0, last: [] },
    ownershipHistory: isOwner ? history : [...history, [sink, Math.max(offset, 0)]]
  }
}
