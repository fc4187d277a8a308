/** The parser of JSON bodies: it accepts every valid body unchanged, rejects all others, and takes linear time. */

import { Code } from '@connectrpc/connect'
import fc from 'fast-check'
import t from 'tap'
import { parseJsonBody } from '../plugins/json-body.ts'

const bytes = (text: string) => Buffer.from(text, 'utf8')
const text = fc.string({ unit: 'binary', maxLength: 40 }).filter((value) => value.isWellFormed())
// Characters that a scanner of keys could misread.
const tricky = fc.string({ unit: fc.constantFrom('"', '\\', ':', ',', '{', '}', ' ', '\n', 'a', '\u2028', 'é', '😀') })
const value = fc.oneof(text, tricky)

t.test('parses every valid body as JSON.parse does', async (t) => {
  const property = fc.property(value, value, fc.constantFrom(0, 1, '\t'), (email, password, indent) => {
    const body = { email, password }
    const read = parseJsonBody(bytes(JSON.stringify(body, null, indent))) as typeof body
    return read.email === email && read.password === password
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
})

t.test('rejects a duplicate key in every position and spelling', async (t) => {
  const spelled = fc.constantFrom('"password"', '"passwor\\u0064"', '"\\u0070assword"', '"password" ', '"password"\n\t')
  const property = fc.property(value, value, spelled, fc.boolean(), (first, second, key, atEnd) => {
    const pair = `${key}:${JSON.stringify(second)}`
    const rest = `"email":"a","password":${JSON.stringify(first)}`
    try {
      parseJsonBody(bytes(atEnd ? `{${rest},${pair}}` : `{${pair},${rest}}`))
      return false
    } catch (error) {
      return (error as { code?: Code }).code === Code.InvalidArgument
    }
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
})

t.test('throws only invalid_argument, without the text, for any bytes', async (t) => {
  const property = fc.property(fc.uint8Array({ maxLength: 60 }), (array) => {
    try {
      parseJsonBody(Buffer.from(array))
      return true
    } catch (error) {
      return /^\[invalid_argument\] body: must [\w -]+$/.test((error as Error).message)
    }
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
})

t.test('counts no key inside a string', async (t) => {
  t.same(parseJsonBody(bytes('{"a":["x",":"],"b":{"a":"\\":"}}')), { a: ['x', ':'], b: { a: '":' } })
})

t.test('takes linear time: bodies of 1.6 MB, a hundred times the limit, take less than 10 s', async (t) => {
  const count = 800_000
  const bodies = {
    'escaped quotes': JSON.stringify({ email: 'a', password: '"'.repeat(count) }),
    backslashes: JSON.stringify({ email: 'a', password: '\\'.repeat(count) }),
    'empty strings': `[${'"",'.repeat(count / 2)}""]`,
    keys: `{${Array.from({ length: count / 10 }, (_, index) => `"${index}":0`).join(',')}}`,
    'an unclosed string': `{"email":"${'\\"'.repeat(count)}`
  }
  for (const [what, body] of Object.entries(bodies)) {
    const startedAt = performance.now()
    try {
      parseJsonBody(bytes(body))
    } catch (error) {
      t.equal((error as { code?: Code }).code, Code.InvalidArgument)
    }
    const ms = performance.now() - startedAt
    t.ok(ms < 10_000, `${what}: ${Math.round(ms)} ms`)
  }
})
