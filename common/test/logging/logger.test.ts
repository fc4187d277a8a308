/** The log writes listed fields, and no others. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { createLogger, type LogFields, tracedLogger } from '#common/logging/logger.ts'
import { newTrace } from '#common/ops/trace.ts'

function capture() {
  const lines: string[] = []
  const log = createLogger('test-svc', 'info', { write: (line: string) => void lines.push(line) })
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') }
}

t.test('a line has the fixed fields, its own fields and the trace', async (t) => {
  const { log, last } = capture()
  const trace = newTrace()
  tracedLogger(log, trace).info({ event: 'authn_login_success', userId: 'u' }, 'logged in')
  t.match(last(), {
    level: 'info',
    service: 'test-svc',
    event: 'authn_login_success',
    userId: 'u',
    msg: 'logged in',
    traceId: trace.traceId,
    spanId: trace.spanId,
    time: /^\d{4}-\d\d-\d\dT.*Z$/,
    version: /^\d/,
    instance: /.+/
  })
  log.debug({ event: 'x' }, 'not at this level')
  t.equal(last().event, 'authn_login_success')
})

t.test('drops fields that are not listed', async (t) => {
  const { log, lines } = capture()
  const secrets = {
    password: 'hunter2',
    token: 'hunter2',
    email: 'hunter2',
    req: { headers: { a: 'hunter2' } },
    ip: 'hunter2'
  }
  log.info({ event: 'x', ...secrets } as LogFields, 'a line')
  t.equal(lines.length, 1)
  t.notMatch(lines[0], /hunter2/)
})

t.test('writes the type and the stack of an error, and no user input', async (t) => {
  const { log, lines, last } = capture()
  class PostgresError extends Error {
    code = '23505'
    detail = 'Key (email)=(hunter2) already exists.'
    query = 'insert hunter2'
  }
  const wrapped = new Error('Failed query: insert params: hunter2', { cause: new PostgresError('hunter2') })
  const errors = [
    wrapped,
    new SyntaxError('Unexpected token hunter2'),
    new TypeError("Received 'hunter2'"),
    'hunter2',
    { a: 'hunter2' }
  ]
  for (const err of errors) log.error({ event: 'x', err }, 'failed')
  t.notMatch(lines.join(''), /hunter2/)
  log.error({ event: 'x', err: wrapped }, 'failed')
  t.match(last().err, { type: 'Error', stack: /logger\.test/, cause: { type: 'PostgresError', code: '23505' } })
  log.error({ err: new ConnectError('A sentence.', Code.Unavailable) }, 'failed')
  t.match(last().err, { code: 'unavailable', message: 'A sentence.' })
  const nothing = undefined as unknown as { x: number }
  try {
    t.ok(nothing.x)
  } catch (err) {
    log.error({ err }, 'failed')
  }
  t.match(last().err, { message: "Cannot read properties of undefined (reading 'x')" })
})

t.test('a value makes no second line', async (t) => {
  const { log, lines } = capture()
  log.info({ event: 'x', reason: 'a\r\n{"level":"fatal"}' }, 'b\nc')
  t.equal(lines.length, 1)
  t.equal(lines[0]?.indexOf('\n'), (lines[0]?.length ?? 0) - 1)
})
