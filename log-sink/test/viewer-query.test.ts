/** What the variables take, and what is said of the rest. */

import t from 'tap'
import { lineInstant, parseInstant } from '../viewer/instant.ts'
import { readQuery } from '../viewer/query.ts'
import { traceId } from './viewer-folder.ts'

const nowMs = Date.parse('2026-11-24T08:15:00.000Z')
const query = (variables: NodeJS.ProcessEnv) => readQuery(variables, nowMs)

t.test('what is empty or not there filters nothing', async (t) => {
  const nothing = { traceId: undefined, services: undefined, level: undefined, since: undefined, follow: false }
  t.same(query({}), nothing)
  t.same(query({ TRACE: '', SERVICE: ' ', LEVEL: '', SINCE: '', FOLLOW: '' }), nothing)
  t.same(query({ FOLLOW: '0' }), nothing)
})

t.test('each variable takes what it says', async (t) => {
  t.equal(query({ TRACE: ` ${traceId.toUpperCase()} ` }).traceId, traceId)
  t.equal(query({ TRACE: `00-${traceId}-b7ad6b7169203331-01` }).traceId, traceId)
  t.same(query({ SERVICE: 'gateway, user-svc,' }).services, new Set(['gateway', 'user-svc']))
  t.equal(query({ LEVEL: 'Warn' }).level, 3)
  t.equal(query({ FOLLOW: '1' }).follow, true)
  for (const [text, ago] of [
    ['90s', 90e3],
    ['15m', 15 * 60e3],
    ['2h', 7200e3],
    ['7d', 7 * 86_400e3]
  ] as const) {
    t.same(query({ SINCE: text }).since, { ms: nowMs - ago, ns: 0 })
  }
  t.same(query({ SINCE: '2026-11-24T08:15:00+02:00' }).since, { ms: nowMs - 7200e3, ns: 0 })
  t.same(
    query({ SINCE: '2026-11-24' }).since,
    { ms: new Date(2026, 10, 24).getTime(), ns: 0 },
    'here, not in Greenwich'
  )
})

const refusals = {
  TRACE: [
    ['0af7', traceId.slice(1), `${traceId}0`, `x${traceId}`, `00-${traceId}`],
    'a trace id of 32 hexadecimal digits, or a traceparent'
  ],
  SERVICE: [[',', ' , '], 'names of services, separated by commas'],
  LEVEL: [['loud', 'silent', '3', 'constructor'], 'one of trace, debug, info, warn, error, fatal'],
  SINCE: [
    ['yesterday', '15', '15 m', '-2h', '1.5h', '2026-13-01', '2026-02-30', '2026-11-24T25:00Z', '2026-11-24T08:15Z+1'],
    'a time span such as 15m, 2h, 7d, or an ISO 8601 time'
  ],
  FOLLOW: [['yes', 'true', '2', 'constructor'], '1 or 0']
} as const

for (const [name, [values, accepts]] of Object.entries(refusals)) {
  t.test(`${name} refuses the rest in one line`, async (t) => {
    for (const value of values) {
      t.throws(() => query({ [name]: value }), {
        message: `${name}: got ${JSON.stringify(value.trim())}, takes ${accepts}`
      })
    }
  })
}

t.test('times in their variants', async (t) => {
  const same = { ms: nowMs, ns: 0 }
  for (const text of [
    '2026-11-24T08:15:00.000Z',
    '2026-11-24t08:15z',
    '2026-11-24 08:15:00',
    '2026-11-24T08:15:00,0 Z',
    '2026-11-24T10:15:00+0200',
    '2026-11-24T05:15-03',
    'Tue, 24 Nov 2026 09:15:00 +0100'
  ]) {
    t.same(lineInstant(text), same, text)
  }
  t.same(parseInstant('2026-11-24T08:15:00.1234567891Z', 'Z'), { ms: nowMs + 123, ns: 456_789 })
  t.same(parseInstant('0001-01-01T00:00:00Z', 'Z'), { ms: -62_135_596_800_000, ns: 0 })
  for (const value of ['', 'soon', 17, null, undefined, {}, '2026-11-24T08:60:00Z'])
    t.equal(lineInstant(value), undefined, String(value))
})
