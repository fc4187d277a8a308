/**
 * Sizes the libuv thread pool, which computes the hashes, and lowers the priority of its threads below the event loop's.
 * Measured once under a full hash load: event-loop delay p99 from 4.1 to 0.8 ms at the same number of hashes a second. `make bench
 * QUICK=1 ROWS=storm` does not resolve the difference: p99 of `GET /session` 9 to 29 ms with it, 22 and 28 without.
 */

import { readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Logger } from '#common/logging/logger.ts'
import { lowerSessionPriority, lowerThreadPriority, threadsOf } from '#common/process/priority.ts'

// For all other work of the pool (files, DNS), so that it never waits behind a hash.
const spareThreads = 4
const niceValue = 10
// The name that libuv gives its threads in Node.js 24. Other versions may choose another; the log then reports it.
const threadName = 'libuv-worker'

/**
 * Has an effect only before the first use of the pool.
 *
 * @param hashes the number of hashes at a time
 */
export async function prepareHashThreads(hashes: number, log: Pick<Logger, 'warn' | 'debug'>): Promise<void> {
  process.env.UV_THREADPOOL_SIZE ??= String(hashes + spareThreads)
  // Any task starts the threads of the pool.
  await stat('.')
  const threads = threadsOf('self').filter((thread) => nameOf(thread) === threadName)
  for (const thread of threads) lowerThreadPriority(niceValue, thread)
  // The other services come before hashes, by less than this service's event loop does.
  lowerSessionPriority(niceValue / 2)
  if (threads.length > 0) return
  const level = process.platform === 'linux' ? 'warn' : 'debug'
  log[level]({ event: 'hash_threads_missing' }, 'found no hash threads, so hashes have the priority of the event loop')
}

function nameOf(thread: number): string {
  try {
    return readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim()
  } catch {
    // The thread has ended meanwhile.
    return ''
  }
}
