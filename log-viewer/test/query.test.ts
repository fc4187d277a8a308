/** The variables of `make logs`: accepted values, and errors for all others. */

import t from 'tap'
import { readQuery } from '../query.ts'
import { traceId } from './log-folder.ts'

const nowMs = Date.parse('2026-11-24T08:15:00.000Z')
const query = (variables: NodeJS.ProcessEnv) => readQuery(variables, nowMs)

t.test('an unset or empty variable filters nothing', async (t) => {
  const unfiltered = { traceId: undefined, services: undefined, level: undefined, sinceMs: undefined, follow: false }
  t.same(query({}), unfiltered)
  t.same(query({ TRACE: '', SERVICE: ' ', LEVEL: '', SINCE: '', FOLLOW: '0' }), unfiltered)
})

t.test('reads each variable', async (t) => {
  t.equal(query({ TRACE: ` ${traceId.toUpperCase()} ` }).traceId, traceId)
  t.equal(query({ TRACE: `00-${traceId}-b7ad6b7169203331-01` }).traceId, traceId)
  t.same(query({ SERVICE: 'gateway, user-svc,' }).services, ['gateway', 'user-svc'])
  t.equal(query({ LEVEL: 'Warn' }).level, 3)
  t.equal(query({ FOLLOW: '1' }).follow, true)
  t.equal(query({ SINCE: '90s' }).sinceMs, nowMs - 90_000)
  t.equal(query({ SINCE: '7d' }).sinceMs, nowMs - 7 * 86_400_000)
  t.equal(query({ SINCE: '2026-11-24T08:15:00+02:00' }).sinceMs, nowMs - 7_200_000)
  t.equal(query({ SINCE: '2026-11-24' }).sinceMs, new Date(2026, 10, 24).getTime(), 'midnight is local')
})

const rejections = {
  TRACE: [
    ['0af7', traceId.slice(1), `${traceId}0`, `x${traceId}`],
    'a trace id of 32 hexadecimal digits, or a traceparent'
  ],
  SERVICE: [[',', ' , '], 'names of services, separated by commas'],
  LEVEL: [['loud', 'silent', '3', 'constructor'], 'one of trace, debug, info, warn, error, fatal'],
  SINCE: [
    ['yesterday', '15', '15 m', '-2h', '1.5h', '2026-13-01', '2026-11-24T25:00Z', '2026-11-24T08:15Z+1'],
    'a time span such as 15m, 2h, 7d, or an ISO 8601 time'
  ],
  FOLLOW: [['yes', 'true', '2'], '1 or 0']
} as const

for (const [name, [values, accepts]] of Object.entries(rejections)) {
  t.test(`${name} rejects other values with the accepted ones`, async (t) => {
    for (const value of values) {
      const message = `${name}: must be ${accepts}, got ${JSON.stringify(value.trim())}`
      t.throws(() => query({ [name]: value }), { message })
    }
  })
}
