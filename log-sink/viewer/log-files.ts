/** Where lines are: the files of the sinks, and the segments that wait in the spool. */

import { basename, join } from 'node:path'
import { listSegments, namesIn } from '#common/logging/spool/layout.ts'

/** Takes note of a file or folder that cannot be read. */
export type Problem = (path: string, error: unknown) => void

/**
 * The files of collected lines, in the order of sink, partition and age, each by its name without `.gz`: a file that is
 * being compressed is there under both.
 */
export function listCollected(directory: string, problem: Problem): string[] {
  return subfolders(directory, problem).flatMap((sink) =>
    subfolders(sink, problem)
      .filter((partition) => /^partition-\d+$/.test(basename(partition)))
      .flatMap((partition) => {
        const names = tryList(partition, problem, namesIn).filter((name) => /^lines-.+\.ndjson(\.gz)?$/.test(name))
        return [...new Set(names.map((name) => name.replace(/\.gz$/, '')))].sort().map((name) => join(partition, name))
      })
  )
}

/** The segments of all sources in the spool, in the order of source and position. */
export function listSpooled(directory: string, problem: Problem): string[] {
  return subfolders(directory, problem).flatMap((service) =>
    subfolders(service, problem).flatMap((instance) => tryList(instance, problem, listSegments).map(({ path }) => path))
  )
}

// The tenth partition comes after the second.
const { compare } = new Intl.Collator('en', { numeric: true })

function subfolders(directory: string, problem: Problem): string[] {
  const names = tryList(directory, problem, namesIn)
  return names.sort(compare).map((name) => join(directory, name))
}

function tryList<T>(path: string, problem: Problem, list: (path: string) => T[]): T[] {
  try {
    return list(path)
  } catch (error) {
    // Not everything in these folders is a folder.
    if ((error as NodeJS.ErrnoException).code !== 'ENOTDIR') problem(path, error)
    return []
  }
}
