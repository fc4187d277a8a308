/** The rules for new passwords. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { createPasswordRules } from '../../passwords/password-rules.ts'

const email = 'ada.lovelace@mail.example.org'
const { newPassword } = createPasswordRules({ minLength: 8, serviceWords: ['Analytical Engine'] })
const rule = (written: string) => newPassword('password', written, email)
async function problem(written: string): Promise<string | undefined> {
  const { value, description } = await rule(written)
  return value === undefined ? description : undefined
}
const codeOf = async (written: string) => (await rule(written)).code

t.test('requires a length in code points, and well-formed Unicode', async (t) => {
  t.match(await problem('seven 7'), /too short/)
  t.match(await problem('🔑🔒🔓🗝🔐🚪🏠'), /too short/, 'length is counted in code points')
  t.equal(await problem('🔑🔒🔓🗝🔐🚪🏠🏰'.repeat(8)), undefined, '64 four-byte characters')
  t.equal(await problem(`correct horse ${'battery staple '.repeat(16)}xy`), undefined, '256 characters')
  t.match(await problem('y'.repeat(257)), /8 to 256/)
  t.match(await problem('nul\0 in the middle'), /without NUL/)
  t.match(await problem('lone \ud800 surrogate'), /well-formed/)
  t.equal(await problem('  spaces  are kept  '), undefined)
  t.equal(await problem('tab\t escape\x1b delete\x7f'), undefined, 'control characters other than NUL')
  t.same(await Promise.all(['seven 7', 'y'.repeat(257), 'nul\0 in the middle'].map(codeOf)), [
    'too_short',
    'too_long',
    'invalid'
  ])
})

t.test('has no rules on the kinds of characters', async (t) => {
  const kinds = ['meadowlarkquilt', 'MEADOWLARKQUILT', '8305917462', '~}?{%)@_+;', '        quilt', 'лугоптицаодеяло']
  for (const written of kinds) t.equal(await problem(written), undefined, written)
})

t.test('rejects the most common passwords in any spelling', async (t) => {
  const file = join(import.meta.dirname, '../../passwords/common-passwords.txt.gz')
  const all = gunzipSync(readFileSync(file)).toString().trim().split('\n')
  t.ok(all.length > 30_000)
  for (const common of [...all.filter((_, index) => index % 100 === 0), 'password', '12345678', 'iloveyou']) {
    t.equal(await codeOf(common.padEnd(8)), 'too_common', common)
  }
  const spellings = [
    'PassWord',
    'password ',
    '  password',
    'ｐａｓｓｗｏｒｄ',
    'pass\u200dword',
    'PASSWORDPASSWORD',
    'ﬁreﬁghter',
    'letmein ',
    '  dragon',
    'qazwsx\u200b\u200b',
    'monkeymonkey'
  ]
  for (const spelling of spellings) t.equal(await codeOf(spelling), 'too_common', JSON.stringify(spelling))
})

t.test('rejects repeats and sequences, also of keyboards', async (t) => {
  const simple = [
    ...['        ', '\u200d'.repeat(8), 'äääääääää', 'ab ab ab ab ab', 'abcabcab', 'aaaabbbbcccc', 'x8x8x8x8x8x'],
    ...[
      'abcdefghij!',
      'zyxwvuts',
      'defg3456mnop',
      'qwertzuiopü',
      'azertyuiop1',
      'йцукенгшщ',
      '1QAZ!QAZ@WSX',
      '!@#$%^&*()'
    ],
    ...['mnbvcxz098765', 'абвгдежзик']
  ]
  for (const each of simple) t.match(await codeOf(each), /too_simple|too_common/, JSON.stringify(each))
  t.equal(await codeOf('mnbvcxz098765'), 'too_simple')
  for (const each of ['summer of 2345', 'trustedabcdoor', 'correct horse', 'Tr0ub4dor&3', 'aabbccddee1']) {
    t.equal(await problem(each), undefined, each)
  }
})

t.test('rejects passwords that consist of words of the service or of the address', async (t) => {
  for (const each of [
    'auth-backend',
    'Auth_Backend1',
    'ANALYTICAL ENGINE',
    'analytical-engine1',
    'engine.analytical'
  ]) {
    t.equal(await codeOf(each), 'service_name', each)
  }
  for (const each of [
    'ADA.LOVELACE',
    email,
    'AdaLovelace1815',
    'lovelace1815',
    'ada.lovelace@example',
    'Example-Lovelace'
  ]) {
    t.equal(await codeOf(each), 'same_as_address', each)
  }
  t.equal(await codeOf('example-engine-2x'), 'service_name')
  t.equal(await problem('ada wrote the first program'), undefined)
  t.equal(await problem('the loom of the backend weaves'), undefined)
})
