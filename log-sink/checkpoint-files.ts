/** The last two checkpoints of a partition, as files in its directory. */

import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Checkpoint } from './checkpoint.ts'

const names = ['checkpoint.json', 'checkpoint.previous.json'] as const

/** Reads the checkpoints, the newer one first. */
export async function readCheckpoints(directory: string): Promise<Checkpoint[]> {
  const found = await Promise.all(
    names.map(async (name) => {
      try {
        return [parse(await readFile(join(directory, name), 'utf8'))]
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
        throw error
      }
    })
  )
  return found.flat()
}

/** Durably adds the newest checkpoint; the one before it becomes the previous checkpoint. */
export async function writeCheckpoint(directory: string, checkpoint: Checkpoint): Promise<void> {
  const [newest, previous] = names.map((name) => join(directory, name)) as [string, string]
  const draft = await writeDraft(directory, checkpoint)
  await rename(newest, previous).catch((error) => {
    if (error.code !== 'ENOENT') throw error
  })
  await rename(draft, newest)
  await syncDirectory(directory)
}

/** Durably makes a checkpoint the only one. After a crash at any point it is at least one of the two. */
export async function keepCheckpoint(directory: string, checkpoint: Checkpoint): Promise<void> {
  const [newest, previous] = names.map((name) => join(directory, name)) as [string, string]
  await rename(await writeDraft(directory, checkpoint), newest)
  await syncDirectory(directory)
  await rm(previous, { force: true })
}

/** Writes a checkpoint under a name that `readCheckpoints` ignores. */
async function writeDraft(directory: string, checkpoint: Checkpoint): Promise<string> {
  const draft = join(directory, 'checkpoint.tmp')
  const file = await open(draft, 'w', 0o600)
  try {
    await file.writeFile(serialize(checkpoint))
    await file.datasync()
  } finally {
    await file.close()
  }
  return draft
}

// On disk and in commits the history is called `tenures`, so that versions before and after the renaming can read both.
function serialize({ ownershipHistory: tenures, ...checkpoint }: Checkpoint): string {
  return JSON.stringify({ ...checkpoint, tenures })
}

function parse(text: string): Checkpoint {
  const { tenures: ownershipHistory, ...checkpoint } = JSON.parse(text)
  return { ...checkpoint, ownershipHistory }
}

/** Makes the names in a directory durable. */
export async function syncDirectory(directory: string): Promise<void> {
  const file = await open(directory, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
