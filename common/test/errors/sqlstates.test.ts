/** The outcome of a statement by SQLSTATE: not applied (503), unknown (504 for a write), or a fault (500). */

import { Code } from '@connectrpc/connect'
import t from 'tap'
import { NotConnectedError, toConnectError } from '#common/errors/driver-errors.ts'
import { fieldCase } from '#common/testing/field-cases.ts'

const thrown = (code: string | undefined, severity = 'ERROR', message = 'x') =>
  Object.assign(new Error(message), { severity, ...(code && { code }) })
const codes = (error: Error) =>
  [false, true].map((write) => toConnectError(new Error('query', { cause: error }), write).code)

const notApplied =
  '55P03 57P05 28P01 28000 25P02 25P03 25006 40001 40P01 53300 53100 57P01 57P03 58030 42501 42P01 26000 08001 3D000'

fieldCase(t, 10, 'maps a rejected statement to unavailable if an operator or time can remedy it', async (t) => {
  for (const code of notApplied.split(' ')) t.same(codes(thrown(code)), [Code.Unavailable, Code.Unavailable], code)
})

fieldCase(t, 10, 'a write whose connection ended is 504, a read 503', async (t) => {
  for (const code of ['08006', '08P01', '08003', '40003', '57P02'])
    t.same(codes(thrown(code)), [Code.Unavailable, Code.DeadlineExceeded], code)
  for (const code of ['XX000', 'ZZ999', undefined])
    t.same(codes(thrown(code, 'FATAL')), [Code.Unavailable, Code.DeadlineExceeded], `fatal ${code}`)
  t.same(codes(thrown('57014')), [Code.DeadlineExceeded, Code.DeadlineExceeded])
})

fieldCase(t, 10, 'a wrong statement is 500', async (t) => {
  for (const code of ['0A000', '22P02', '23503', '42601', '42703', 'XX000', 'XX001', 'P0001'])
    t.same(codes(thrown(code)), [Code.Internal, Code.Internal], code)
})

fieldCase(t, 5, 'an error of PgBouncer for a statement that it has not sent is 503', async (t) => {
  for (const message of ['query_wait_timeout', 'server login has been failing, cached error: x (server_login_retry)'])
    t.same(codes(thrown('08P01', 'FATAL', message)), [Code.Unavailable, Code.Unavailable], message)
  t.same(codes(thrown('08P01', 'FATAL', 'server conn crashed?')), [Code.Unavailable, Code.DeadlineExceeded])
})

t.test('maps a connection that could not be established to not applied', async (t) => {
  for (const code of ['ECONNRESET', '28P01', 'XX000', 'DEPTH_ZERO_SELF_SIGNED_CERT'])
    t.same(codes(new NotConnectedError(thrown(code))), [Code.Unavailable, Code.Unavailable], code)
})
