/** Lines for people: complete, aligned, and harmless for a terminal. */

import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { createFormat } from '../viewer/readable.ts'
import { lineAt, traceId } from './viewer-folder.ts'

process.env.TZ = 'Asia/Kolkata'

const plain = (...lines: string[]) => {
  const format = createFormat(false)
  return lines.map((line) => format(Buffer.from(line))).join('')
}

t.test('a request, an RPC and an error, with the date when it changes', async (t) => {
  const text = plain(
    lineAt(0.2, {
      traceId,
      spanId: 'b7ad6b7169203331',
      event: 'http_request',
      method: 'GET',
      route: '/session',
      statusCode: 200,
      durationMs: 1.25,
      userId: '0190-1',
      msg: 'answered a request'
    }),
    lineAt(36_885_001, {
      level: 'error',
      service: 'session-svc',
      rpc: 'session.v1.SessionService/ValidateSession',
      code: 'unavailable',
      reason: 'no reply within 1 s',
      count: 0,
      err: {
        type: 'ConnectError',
        code: 'unavailable',
        message: 'Redis is away',
        stack: '    at validate (sessions.ts:10:2)\n    at handle (connect.ts:4:1)',
        cause: { type: 'Error', code: 'ECONNREFUSED', stack: '    at connect (net.ts:1:1)' }
      },
      msg: 'failed'
    }),
    lineAt(36_900_000, { level: 'fatal', service: 'a-service-of-others', durationMs: 3, msg: 'x' }),
    lineAt(36_900_001, { level: 'warn', code: 'not_found', err: 'of another kind', msg: 'y' })
  )
  t.equal(
    text,
    `2026-11-24 UTC+05:30
13:45:00.000  INFO   gateway      GET /session 200 1.25 ms  answered a request  event=http_request user=0190-1 trace=${traceId}
23:59:45.001  ERROR  session-svc  session.v1.SessionService/ValidateSession unavailable  failed  ConnectError unavailable: Redis is away  reason="no reply within 1 s" count=0
    at validate (sessions.ts:10:2)
    at handle (connect.ts:4:1)
    caused by Error ECONNREFUSED
    at connect (net.ts:1:1)
2026-11-25 UTC+05:30
00:00:00.000  FATAL  a-service-of-others  3 ms  x
00:00:00.001  WARN   gateway              y  err="of another kind"  code=not_found
`
  )
})

t.test('colours mark the level', async (t) => {
  const coloured = createFormat(true)(Buffer.from(lineAt(0, { level: 'error' })))
  t.match(coloured, '\x1b[31mERROR\x1b[0m')
  t.equal(stripVTControlCharacters(coloured), plain(lineAt(0, { level: 'error' })))
})

t.test('nothing in a line reaches the terminal as a command', async (t) => {
  const nasty = '\x1b[2J\x07\r\n\x00\x7f\x9b31m\u2028\u202e\u{e0001}\ud800'
  const fields = {
    msg: nasty,
    service: nasty,
    level: nasty,
    method: nasty,
    [nasty]: nasty,
    userId: { [nasty]: [nasty] }
  }
  const text = plain(
    lineAt(0, fields),
    lineAt(0, {
      err: { type: nasty, code: nasty, message: nasty, stack: `${nasty}\n at ${nasty}`, cause: { type: nasty } }
    }),
    lineAt(0, { time: nasty, err: nasty, rpc: nasty, code: nasty }),
    `no JSON ${nasty.replace('\n', '')}\n`
  )
  t.notMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
  t.equal(text.split('\n').length - 1, 1 + 4 + 5, 'a day, four lines, and a stack')
  t.match(text, '\\x1b[2J\\x07\\x0d\\x0a\\x00\\x7f\\x9b31m\\u2028\\u202e\\u{e0001}\\ud800')
})

t.test('whatever an object holds, it is one line, its error aside', async (t) => {
  const isOneLine = fc.property(fc.object(), fc.string({ unit: 'binary' }), (fields, msg) => {
    const { err: _, time: __, ...rest } = fields
    const text = plain(lineAt(0, { constructor: msg, ...rest, msg, level: 'constructor' }))
    return /^[^\n]+\n[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+\n$/u.test(text)
  })
  t.doesNotThrow(() => fc.assert(isOneLine))
})
