/** The threads that hash: more than there are hashes at a time, so that files and names never wait behind one; of lower priority than the event loop. */

import { readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { lowerSessionPriority, lowerThreadPriority, threadsOf } from '#common/process/priority.ts'

// For everything else that the pool does: files, DNS.
const spareThreads = 4
const priority = 10

/**
 * Sizes the pool and lowers its threads; to be called before anything has used the pool, which is made once.
 *
 * @param hashes how many there can be at a time
 */
export async function prepareHashThreads(hashes: number): Promise<void> {
  process.env.UV_THREADPOOL_SIZE ??= String(hashes + spareThreads)
  // Whatever it is, the first task makes the pool.
  await stat('.')
  for (const thread of poolThreads()) lowerThreadPriority(priority, thread)
  // Other services come before hashes, too; by less, since what else this one does comes after them with it.
  lowerSessionPriority(priority / 2)
}

function poolThreads(): number[] {
  return threadsOf('self').filter((thread) => nameOf(thread) === 'libuv-worker')
}

function nameOf(thread: number): string {
  try {
    return readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim()
  } catch {
    // It has ended meanwhile.
    return ''
  }
}
