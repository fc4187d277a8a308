/**
 * Reads the highest cost of all stored hashes, so that from the first guess on, a failed check of every address costs the
 * same on every instance, also after an import of costlier hashes.
 */

import type { Logger } from '#common/logging/logger.ts'
import type { Probe } from '#common/ops/probe.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import type { Database } from '../database.ts'
import { sql } from '../drizzle.ts'
import { users } from '../schema.ts'
import { noPassword, parseStoredHash, TooCostlyHashError } from './stored-hash.ts'

// Short statements, with pauses between them that leave the database for other work.
const pageRows = 5000
const pageIntervalMs = 50
const minIntervalMs = 60_000
// The next reading starts after this multiple of the duration of the last one.
const intervalFactor = 50

/** The part of a hash that names its cost. Of hashes with one such part and one length, the costs are equal. */
const costPart = sql.raw(`case
  when password_hash like '%$2_$__$%' then substring(password_hash from '\\$2[aby]\\$\\d\\d\\$')
  when password_hash like '$fbscrypt$%' then substring(password_hash from '^[^,]*,n=\\d+,r=\\d+,p=\\d+')
  when password_hash like 'scrypt$%' then regexp_replace(password_hash, '^scrypt\\$(\\d+)\\$[^$]*\\$(\\d+)\\$(\\d+)\\$.*$', '\\1 \\2 \\3')
  else substring(password_hash from '^(?:argon2)?\\$?[a-z0-9_-]+\\$(?:v=\\d+\\$)?[a-z0-9=,]+\\$') end`)

/** The work of the costliest stored hash. @returns its bcrypt cost, rounded up, and whether hashes above the ceiling exist */
async function readHighestCost(db: Database, maxCost: number, clock: Clock, stop: AbortSignal) {
  let [after, highest, hasTooCostly] = ['00000000-0000-0000-0000-000000000000', 0, false]
  for (;;) {
    const { rows } = await db.execute<{ last: string | null; count: number; samples: string[] }>(sql`
      with page as (select id, password_hash from ${users} where id > ${after} order by id limit ${pageRows})
      select (select id from page order by id desc limit 1) as last, (select count(*)::int from page) as count,
        array(select min(password_hash) from page where password_hash <> ${noPassword}
          group by ${costPart}, length(password_hash)) as samples`)
    const [{ last, count, samples } = { last: null, count: 0, samples: [] }] = rows
    for (const sample of samples) {
      const cost = costOf(sample, maxCost)
      if (cost === 'too costly') hasTooCostly = true
      else highest = Math.max(highest, cost)
    }
    if (last === null || count < pageRows) return { highest, hasTooCostly }
    after = last
    await clock.sleep(pageIntervalMs, stop, true)
  }
}

function costOf(stored: string, maxCost: number): number | 'too costly' {
  try {
    return Math.ceil(Math.log2(parseStoredHash(stored, maxCost).rounds))
  } catch (error) {
    // A damaged hash costs the decoy.
    return error instanceof TooCostlyHashError ? 'too costly' : 0
  }
}

export type StoredCosts = ReturnType<typeof watchStoredCosts>

/** @param maxCost the ceiling: a hash of a higher cost is never computed */
export function watchStoredCosts(db: Database, maxCost: number, log: Pick<Logger, 'warn'>, clock: Clock = systemClock) {
  let highest = 0
  let isReported = false
  let cancel = () => {}
  const stopped = new AbortController()

  async function read(): Promise<void> {
    const startedAt = clock.now()
    try {
      const result = await readHighestCost(db, maxCost, clock, stopped.signal)
      highest = result.highest
      if (result.hasTooCostly && !isReported) {
        isReported = true
        log.warn(
          { event: 'stored_hashes_too_costly' },
          'found hashes above userSvc.password.maxCost: their accounts cannot log in'
        )
      }
    } catch (error) {
      // The pool is closed after the stop.
      if (stopped.signal.aborted) return
      log.warn({ event: 'stored_costs_unknown', err: error }, 'failed to read the costs of stored hashes')
    }
    const intervalMs = Math.max(minIntervalMs, intervalFactor * (clock.now() - startedAt))
    if (!stopped.signal.aborted) cancel = clock.startTimer(intervalMs, () => void read())
  }

  let firstRead: Promise<void> | undefined
  return {
    /** The bcrypt cost of the costliest hash of the last reading; 0 if there is none. */
    highest: () => highest,
    /** The probe of the database, which succeeds after the first reading; a failed reading counts, too. */
    probeAfter(probe: Probe): Probe {
      return async () => {
        const warning = await probe()
        firstRead ??= read()
        await firstRead
        return warning
      }
    },
    stop() {
      stopped.abort()
      cancel()
    }
  }
}
