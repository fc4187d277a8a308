/** The rules for e-mail addresses and their normal form. */

import fc from 'fast-check'
import t from 'tap'
import { normalizeEmail } from '../email.ts'

t.test('spellings of the same address have one normal form', async (t) => {
  const same = { 'Ada@Example.ORG': 'ada@example.org', "o'brien+x@a-b.co.uk": "o'brien+x@a-b.co.uk" }
  for (const [written, normalized] of Object.entries(same)) t.equal(normalizeEmail(written), normalized)
  t.equal(normalizeEmail('ada@BÜCHER.example'), 'ada@xn--bcher-kva.example')
  t.equal(normalizeEmail('ada@xn--bcher-kva.example'), 'ada@xn--bcher-kva.example')
})

t.test('rejects malformed addresses', async (t) => {
  const malformed = [
    '',
    '@',
    'ada',
    'ada@',
    '@example.org',
    'ada@example',
    'ada@example..org',
    'ada@-x.org',
    '.ada@example.org',
    'ada.@example.org',
    'a..b@example.org',
    'ada@example.org ',
    ' ada@example.org',
    'ada @example.org',
    'ada@exa mple.org',
    'a\u0000da@example.org',
    'ada@example.org\r\nBcc: x@y.zz',
    '"ada"@example.org',
    'ada@[127.0.0.1]',
    'ada@127.0.0.1',
    'ada@a@example.org',
    'ada@example.org.',
    'ädä@example.org',
    '\u212Aate@example.org',
    'ada@exam\u200Bple.or%67',
    `${'a'.repeat(65)}@example.org`,
    `ada@${'a'.repeat(64)}.org`,
    `ada@${'abc.'.repeat(65)}org`,
    'ada@\ud800.org'
  ]
  for (const written of malformed) t.equal(normalizeEmail(written), undefined, JSON.stringify(written))
})

t.test('the normal form is ASCII in lower case, and its own normal form', async (t) => {
  const property = fc.property(fc.oneof(fc.emailAddress(), fc.string({ unit: 'binary' })), (written) => {
    const normalized = normalizeEmail(written)
    return (
      normalized === undefined ||
      (normalizeEmail(normalized) === normalized && /^[\x21-\x40\x5b-\x7e]+$/.test(normalized))
    )
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
})
