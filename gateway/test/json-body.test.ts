/** The reader of bodies: takes every valid body as it is, refuses the rest, and is never slow. */

import { Code } from '@connectrpc/connect'
import fc from 'fast-check'
import t from 'tap'
import { parseJsonBody } from '../plugins/json-body.ts'

const bytes = (text: string) => Buffer.from(text, 'utf8')
const text = fc.string({ unit: 'binary', maxLength: 40 }).filter((value) => value.isWellFormed())
// The characters that a reader of keys could trip over.
const tricky = fc.string({ unit: fc.constantFrom('"', '\\', ':', ',', '{', '}', ' ', '\n', 'a', '\u2028', 'é', '😀') })
const value = fc.oneof(text, tricky)

t.test('every valid body is read as JSON.parse reads it', async (t) => {
  const property = fc.property(value, value, fc.constantFrom(0, 1, '\t'), (email, password, indent) => {
    const body = { email, password }
    const read = parseJsonBody(bytes(JSON.stringify(body, null, indent))) as typeof body
    return read.email === email && read.password === password
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
})

t.test('a key that stands twice is refused wherever it stands and however it is written', async (t) => {
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

t.test('no bytes make it throw anything but a refusal without the text', async (t) => {
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

t.test('the time that a body of 16 KiB takes does not depend on what is in it', async (t) => {
  const fastestMs = (body: Buffer) => {
    const times = Array.from({ length: 5 }, () => {
      const startedAt = performance.now()
      try {
        parseJsonBody(body)
      } catch {
        // A refusal must be quick too.
      }
      return performance.now() - startedAt
    })
    return Math.min(...times)
  }
  const bodies = {
    'escaped quotes': JSON.stringify({ email: 'a', password: '"'.repeat(8100) }),
    backslashes: JSON.stringify({ email: 'a', password: '\\'.repeat(8100) }),
    'empty strings': `[${'"",'.repeat(5400)}""]`,
    keys: `{${Array.from({ length: 1800 }, (_, index) => `"${index}":0`).join(',')}}`,
    nesting: '['.repeat(8100) + ']'.repeat(8100)
  }
  for (const [what, body] of Object.entries(bodies)) {
    const ms = fastestMs(bytes(body))
    t.ok(ms < 10, `${what}: ${ms.toFixed(1)} ms keep everybody else waiting`)
  }
})
