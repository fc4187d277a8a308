/** The permanent id of a sink, unique even among sinks with the same name on several machines. */

import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory } from './checkpoint-files.ts'

/** Reads the id of the sink that owns a directory, or creates it. */
export async function sinkId(directory: string): Promise<string> {
  const path = join(directory, 'sink-id')
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const stored = await readFile(path, 'utf8').catch((error) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  if (stored.trim() !== '') return stored.trim()
  const id = randomUUID().slice(0, 13)
  // A rename, because a crash must not leave half an id.
  await writeFile(`${path}.tmp`, `${id}\n`, { mode: 0o600, flush: true })
  await rename(`${path}.tmp`, path)
  await syncDirectory(directory)
  return id
}
