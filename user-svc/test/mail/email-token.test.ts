/** The token of an email: bound to every column of its row and to a key, in one encoding. */

import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { type EmailTokenRow, emailIdOf, emailToken, isTokenOf } from '../../mail/email-token.ts'

const key = (name: string) => `${name}:${randomBytes(32).toString('base64')}`
const newest = key('newest')
const older = key('older')

const rows: fc.Arbitrary<EmailTokenRow> = fc.record({
  id: fc.uuid({ version: 7 }),
  userId: fc.option(fc.uuid({ version: 7 })),
  purpose: fc.constantFrom('verify', 'change', 'reset', 'change-notice', 'registration-notice'),
  recipient: fc.option(fc.emailAddress()),
  sessionEpoch: fc.bigInt({ min: 0n, max: 2n ** 53n }),
  expiresAt: fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true })
})

t.test('a token names its row, and is valid for it under any configured key', async (t) => {
  const property = fc.property(rows, fc.constantFrom(newest, older), (row, signing) => {
    const token = emailToken(row, [signing])
    return (
      /^[\w-]{64}$/.test(token) &&
      emailIdOf(token) === row.id &&
      isTokenOf(row, token, [newest, older]) &&
      !isTokenOf(row, token, [signing === newest ? older : newest]) &&
      !isTokenOf(row, token, [])
    )
  })
  t.doesNotThrow(() => fc.assert(property))
  t.throws(() => emailToken(fc.sample(rows, 1)[0] as EmailTokenRow, []), 'without a key')
})

t.test('a token is not valid for a row that differs in any column', async (t) => {
  const columns = fc.constantFrom<keyof EmailTokenRow>('userId', 'purpose', 'recipient', 'sessionEpoch', 'expiresAt')
  const property = fc.property(rows, rows, columns, (row, other, column) => {
    fc.pre(String(row[column]) !== String(other[column]) && row[column]?.valueOf() !== other[column]?.valueOf())
    return !isTokenOf({ ...row, [column]: other[column] }, emailToken(row, [newest]), [newest])
  })
  t.doesNotThrow(() => fc.assert(property))
})

t.test('columns have bounds: a text cannot move from one to the next', async (t) => {
  const row = fc.sample(rows, 1)[0] as EmailTokenRow
  const token = emailToken({ ...row, userId: 'a', recipient: 'b","c' }, [newest])
  t.notOk(isTokenOf({ ...row, userId: 'a","b', recipient: 'c' }, token, [newest]))
})

t.test('a token with any other character at any place is not valid', async (t) => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const character = fc.constantFrom(...alphabet, ' ', '=', '+', '/', 'é', '\0')
  const property = fc.property(rows, fc.nat(63), character, (row, at, other) => {
    const token = emailToken(row, [newest])
    fc.pre(token[at] !== other)
    const changed = `${token.slice(0, at)}${other}${token.slice(at + 1)}`
    return emailIdOf(changed) !== row.id || !isTokenOf(row, changed, [newest, older])
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
})

t.test('a text that is not a token names no row', async (t) => {
  const text = fc.oneof(fc.string(), fc.string({ unit: 'binary', minLength: 64, maxLength: 64 }), fc.base64String())
  const property = fc.property(text, (each) => /^[\w-]{64}$/.test(each) || emailIdOf(each) === undefined)
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
  const token = emailToken(fc.sample(rows, 1)[0] as EmailTokenRow, [newest])
  for (const each of ['', token.slice(1), `${token}A`, `${token}\n`, ` ${token}`]) t.equal(emailIdOf(each), undefined)
})
