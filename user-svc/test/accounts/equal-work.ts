/** Counts the work of calls, which decides their response time: hashes, SQL statements and health checks. */

import type { ConnectError } from '@connectrpc/connect'
import pg from 'pg'
import type { Test } from 'tap'
import { codeName } from '#common/errors/codes.ts'
import type { createTestClock } from '#common/testing/test-clock.ts'
import type { startUserSvc } from '../service.ts'

type Calls = Record<string, () => Promise<ConnectError | object>>

/**
 * Records the statements of every connection until the test ends.
 *
 * @param clock of the health checks; before each call it advances, so that a call that needs sessions makes a health check
 * @returns a function that requires the same work of all kinds of calls
 */
export function recordWork(
  t: Pick<Test, 'teardown'>,
  { sessions, hashes }: Pick<Awaited<ReturnType<typeof startUserSvc>>, 'sessions' | 'hashes'>,
  clock: ReturnType<typeof createTestClock>
) {
  const statements: string[] = []
  const { query } = pg.Client.prototype
  pg.Client.prototype.query = function record(this: pg.Client, ...args: unknown[]) {
    const [config] = args as [string | { text: string }]
    statements.push(typeof config === 'string' ? config : config.text)
    return (query as (...args: unknown[]) => unknown).apply(this, args)
  } as typeof query
  t.teardown(() => Object.assign(pg.Client.prototype, { query }))

  /** The work of a call, in order, and its response; `answer` leaves out the texts that name no reason. */
  async function workOf(call: () => Promise<ConnectError | object>) {
    await clock.advance(10_000)
    statements.length = 0
    const before = { hashes: await hashes(), checks: sessions.checks }
    const result = await call()
    const answer = 'rawMessage' in result ? [codeName(result.code), result.rawMessage, result.details] : result
    return {
      answer,
      statements: [...statements],
      hashes: (await hashes()) - before.hashes,
      checks: sessions.checks - before.checks
    }
  }

  return async function sameWork(t: Pick<Test, 'same'>, kinds: Calls) {
    const [[, first], ...others] = Object.entries(kinds) as [
      [string, () => Promise<object>],
      ...[string, () => Promise<object>][]
    ]
    await first()
    const expected = await workOf(first)
    for (const [name, call] of others) t.same(await workOf(call), expected, name)
    return expected
  }
}
