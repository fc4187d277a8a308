/** Hostile values make no second line and no other field, and errors bring no user input into the log. */

import fc from 'fast-check'
import t from 'tap'
import { describeError } from '#common/logging/describe-error.ts'
import { createLogger, type LogFields } from '#common/logging/logger.ts'

const lines: string[] = []
const log = createLogger('test', 'info', { write: (line: string) => void lines.push(line) })
t.beforeEach(() => lines.splice(0))

/** Logs a value as a field, as a field name and as the message. @returns the line without its line end */
function lineWith(value: string): string {
  lines.splice(0)
  log.info({ event: 'x', reason: value, [value]: 'y' } as LogFields, value)
  const [line = ''] = lines
  const read = JSON.parse(line)
  if (lines.length !== 1 || !line.endsWith('}\n') || read.reason !== value || read.msg !== value) throw new Error(line)
  return line.slice(0, -1)
}

const escaped = ['\n', '\r', '\v', '\f', '\0', '\u001b[2J', '"', '\\', '}{', 'a'] as const

t.test('escapes CR, LF, ANSI and other control characters', async (t) => {
  const hostile = fc.string({ unit: fc.constantFrom(...escaped), maxLength: 12 })
  const property = fc.property(hostile, (value) => [...lineWith(value)].every((character) => character >= ' '))
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
})

t.test('escapes the line separators of Unicode', async (t) => {
  // Readers that split by the rules of Unicode (Python's splitlines, JavaScript before 2019) would see a second line.
  for (const separator of ['\u2028', '\u2029', '\u0085']) {
    t.notOk(
      lineWith(`a${separator}b`).includes(separator),
      `U+${separator.charCodeAt(0).toString(16).padStart(4, '0')}`
    )
  }
})

t.test('a value cannot replace a fixed field', async (t) => {
  const forged = { level: 'fatal', time: 'never', service: 'other', msg: 'other', traceId: 'f', version: '0', pid: 1 }
  log.info({ event: 'x', ...forged } as LogFields, 'mine')
  const [line = ''] = lines
  t.match(JSON.parse(line), { level: 'info', service: 'test', msg: 'mine' })
  for (const name of ['level', 'time', 'service', 'msg', 'version']) {
    t.equal(line.split(`"${name}":`).length, 2, `${name} occurs once`)
  }
})

t.test('writes only the type and the stack of an error', async (t) => {
  class DrizzleQueryError extends Error {
    query = 'insert hunter2'
    params = ['hunter2']
  }
  const cause = Object.assign(new Error('Key (email)=(hunter2) exists'), { code: '23505', detail: 'hunter2' })
  const errors = [
    new DrizzleQueryError('Failed query: insert\nparams: hunter2', { cause }),
    new AggregateError([new Error('hunter2')], 'hunter2'),
    new RangeError('Invalid time value hunter2'),
    new Error('hunter2', { cause: new Error('hunter2', { cause: 'hunter2' }) }),
    { message: 'hunter2', stack: 'hunter2' },
    'hunter2',
    null,
    undefined,
    Symbol('hunter2')
  ]
  for (const err of errors) log.error({ event: 'x', err }, 'failed')
  t.equal(lines.length, errors.length)
  for (const [index, line] of lines.entries()) t.notMatch(line, /hunter2/, `error ${index}`)
  t.match(JSON.parse(lines[0] ?? '').err, {
    type: 'DrizzleQueryError',
    stack: /logger-lines/,
    cause: { code: '23505' }
  })
})

t.test('the message of an error is not treated as a part of its stack', async (t) => {
  log.error({ event: 'x', err: new Error('a\n    at hunter2 (file.ts:1:1)') }, 'failed')
  t.match(JSON.parse(lines[0] ?? '').err.stack, /logger-lines/)
  t.notMatch(lines[0], /hunter2/)
})

t.test('describes an error that is its own cause', async (t) => {
  const error: Error & { cause?: unknown } = new Error('x')
  error.cause = error
  t.ok(JSON.stringify(describeError(error)).length < 20_000)
})
