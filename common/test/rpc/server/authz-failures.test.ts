/** Audit events of rejected calls: a flood is counted and cannot fill the log. */

import { Registry } from '@prometheus-io/client'
import t from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { authzFailures } from '#common/rpc/server/authz-failures.ts'
import { createTestClock } from '#common/testing/test-clock.ts'

t.test('a flood of unknown credentials has few lines, and hides no failure of a known caller', async (t) => {
  const lines: Record<string, unknown>[] = []
  const log = createLogger('test', 'info', { write: (line: string) => void lines.push(JSON.parse(line)) })
  const [registry, clock] = [new Registry(), createTestClock()]
  const audit = authzFailures(registry, clock)
  const rpc = 'session.v1.SessionService/CreateSession'
  const flood = (calls: number) => {
    for (let n = 0; n < calls; n++) {
      audit(log, { caller: undefined, rpc, code: 'unauthenticated', reason: 'unknown_credential' })
    }
  }
  flood(10_000)
  t.equal(lines.length, 10)
  t.match(lines.splice(0)[0], { event: 'authz_fail', level: 'warn', rpc, reason: 'unknown_credential', count: 1 })
  audit(log.child({ caller: 'shop' }) as never, {
    caller: 'shop',
    rpc,
    code: 'permission_denied',
    reason: 'method_not_permitted'
  })
  t.match(lines.splice(0), [{ event: 'authz_fail', caller: 'shop', reason: 'method_not_permitted', count: 1 }])
  await clock.advance(9999)
  flood(1)
  t.same(lines, [])
  await clock.advance(1)
  flood(5)
  t.match(lines.splice(0), [{ count: 9992 }], 'one line for all calls since the last one')
  await clock.advance(3_600_000)
  flood(100)
  t.equal(lines.length, 10, 'the limit does not add up over time')
  t.match(await registry.metrics(), /rpc_server_authz_failures_total\{reason="unknown_credential"\} 10106\n/)
  t.match(await registry.metrics(), /rpc_server_authz_failures_total\{reason="no_credential"\} 0\n/)
})
