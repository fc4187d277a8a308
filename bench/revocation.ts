/** Cost of the revocation of all sessions of a user: one write, whatever their number. */

import { randomUUID } from 'node:crypto'
import { createClient } from '@connectrpc/connect'
import { testTransport } from '#common/testing/service.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { figure, type Measurement, median } from './measurement.ts'
import type { Bench } from './part.ts'
import type { Stores } from './population.ts'

const maxGrowth = 2
const sessionsEach = [1, 100, 10_000]

interface Revoked {
  sessions: number
  /** Time in Redis for one revocation. */
  micros: number
  writes: number
  callMs: number
}

/** Revokes through session-svc, and reads the cost from Redis' command statistics. */
export async function measureRevocation({ product, stores, quick }: Bench): Promise<Measurement[]> {
  const users = quick ? 3 : 10
  const port = Number(new URL(`http://${product.address('session-svc', /^gRPC/)}`).port)
  const client = createClient(SessionService, testTransport(port, product.secret('rpc-token')))
  const writing = new Set(await stores.redis.sendCommand<string[]>(['COMMAND', 'LIST', 'FILTERBY', 'ACLCAT', 'write']))
  const results: Revoked[] = []
  for (const sessions of sessionsEach) {
    const ids = Array.from({ length: users }, () => randomUUID())
    for (const id of ids) await stores.addSessions(sessions, () => id)
    const before = await commandStatistics(stores)
    const durationsMs: number[] = []
    for (const userId of ids) {
      const startedAt = performance.now()
      await client.deleteUserSessions({ userId, epoch: 1n })
      durationsMs.push(performance.now() - startedAt)
    }
    const after = await commandStatistics(stores)
    const since = (name: string, field: 'calls' | 'micros') =>
      (after.get(name)?.[field] ?? 0) - (before.get(name)?.[field] ?? 0)
    const writes = [...after.keys()]
      .filter((name) => writing.has(name))
      .reduce((sum, name) => sum + since(name, 'calls'), 0)
    results.push({
      sessions,
      micros: (since('evalsha', 'micros') + since('eval', 'micros')) / users,
      writes: writes / users,
      callMs: median(durationsMs)
    })
  }
  const growth = (results.at(-1)?.micros ?? 0) / (results[0]?.micros ?? 0)
  return [
    {
      name: 'revocation of all sessions of a user, by their number',
      goal: `one write, ≤ ${maxGrowth} × the smallest`,
      value: `${results.map(({ writes }) => figure(writes, 1)).join(', ')} writes, ${figure(growth, 2)} ×`,
      passed: growth <= maxGrowth && results.every(({ writes }) => writes === 1),
      details: `Redis at ${results.map(({ sessions, micros, callMs }) => `${figure(sessions)}: ${figure(micros)} µs (call ${figure(callMs, 1)} ms)`).join('; ')}; ${users} users each`,
      figures: results
    }
  ]
}

/** Calls of each command and their time so far, including commands in scripts. */
async function commandStatistics({ redis }: Stores): Promise<Map<string, { calls: number; micros: number }>> {
  const text = await redis.info('commandstats')
  const lines = text.matchAll(/^cmdstat_([^:]+):calls=(\d+),usec=(\d+)/gm)
  return new Map(
    [...lines].map(([, name = '', calls, micros]) => [name, { calls: Number(calls), micros: Number(micros) }])
  )
}
