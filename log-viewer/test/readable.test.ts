/** The terminal format: complete, aligned, and harmless for the terminal. */

import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { createFormat } from '../readable.ts'
import { lineAt, traceId } from './log-folder.ts'

process.env.TZ = 'Asia/Kolkata'

const plain = (...lines: string[]) => {
  const format = createFormat(false)
  return lines.map((line) => format(Buffer.from(line))).join('')
}

t.test('formats a request, an RPC and an error, and writes the date when it changes', async (t) => {
  const request = { method: 'GET', route: '/session', statusCode: 200, durationMs: 1.25, event: 'http_request' }
  const cause = { type: 'Error', code: 'ECONNREFUSED', stack: '    at connect (net.ts:1:1)' }
  const err = {
    type: 'ConnectError',
    code: 'unavailable',
    message: 'Redis is down',
    stack: '    at a (b.ts:1:2)',
    cause
  }
  const call = { level: 'error', service: 'session-svc', rpc: 'session.v1/Validate', code: 'unavailable' }
  t.equal(
    plain(
      lineAt(0.2, { traceId, spanId: 'b7ad6b7169203331', ...request, userId: '0190-1', msg: 'answered a request' }),
      lineAt(36_885_001, { ...call, reason: 'no reply within 1 s', count: 0, err, msg: 'failed' }),
      lineAt(36_900_000, { level: 'fatal', service: 'a-foreign-service', err: 'a string', msg: 'x' })
    ),
    `2026-11-24 UTC+05:30
13:45:00.000  INFO   gateway      GET /session 200 1.25 ms  answered a request  event=http_request user=0190-1 trace=${traceId}
23:59:45.001  ERROR  session-svc  session.v1/Validate unavailable  failed  ConnectError unavailable Redis is down  reason="no reply within 1 s" count=0
    at a (b.ts:1:2)
    caused by Error ECONNREFUSED
    at connect (net.ts:1:1)
2026-11-25 UTC+05:30
00:00:00.000  FATAL  a-foreign-service  x  a string
`
  )
})

t.test('colours mark the level', async (t) => {
  const coloured = createFormat(true)(Buffer.from(lineAt(0, { level: 'error' })))
  t.match(coloured, '\x1b[31mERROR\x1b[0m')
  t.equal(stripVTControlCharacters(coloured), plain(lineAt(0, { level: 'error' })))
})

t.test('no field of a line reaches the terminal as a command', async (t) => {
  const hostile = '\x1b[2J\x07\r\n\x00\x7f\x9b31m\u2028\u202e\u{e0001}\ud800'
  const fields = { msg: hostile, service: hostile, level: hostile, method: hostile, [hostile]: hostile }
  const err = { type: hostile, code: hostile, message: hostile, stack: `${hostile}\n at ${hostile}`, cause: hostile }
  const text = plain(
    lineAt(0, { ...fields, userId: { [hostile]: [hostile] } }),
    lineAt(0, { err }),
    lineAt(0, { time: hostile, err: hostile, rpc: hostile, code: hostile }),
    `no JSON ${hostile.replace('\n', '')}\n`
  )
  t.notMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
  t.match(text, '\\u{1b}[2J\\u{7}\\u{d}')
})

t.test('any object without an error is one line', async (t) => {
  const isOneLine = fc.property(fc.object(), fc.string({ unit: 'binary' }), (fields, msg) => {
    const { err: _, time: __, ...rest } = fields
    const text = plain(lineAt(0, { constructor: msg, ...rest, msg, level: 'constructor' }))
    return /^[^\n]+\n[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+\n$/u.test(text)
  })
  t.doesNotThrow(() => fc.assert(isOneLine))
})
