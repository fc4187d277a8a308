/** The rules for new passwords. */

import t from 'tap'
import { newPasswordRule } from '../../passwords/password-rules.ts'

t.test('requires a length, well-formed Unicode, and a password that is neither common nor the address', async (t) => {
  const rule = (written: string) => newPasswordRule({ field: 'password', written }, 'ada.lovelace@example.org', 8)
  function problem(written: string): string | undefined {
    const { value, description } = rule(written)
    return value === undefined ? description : undefined
  }
  t.match(problem('seven 7'), /too short/)
  t.match(problem('🔑🔑🔑🔑🔑🔑🔑'), /too short/, 'length is counted in code points')
  t.equal(problem('🔑'.repeat(64)), undefined, '64 four-byte characters')
  t.equal(problem('x'.repeat(256).replace('x', 'y')), undefined)
  t.match(problem('y'.repeat(257)), /8 to 256/)
  t.match(problem('nul\0 in the middle'), /without NUL/)
  t.match(problem('lone \ud800 surrogate'), /well-formed/)
  for (const common of ['password', 'PassWord', '12345678', 'qwertyuiop', 'iloveyou'])
    t.match(problem(common), /most common/)
  t.match(problem('auth-backend'), /most common/)
  t.match(problem('ADA.LOVELACE'), /e-mail/)
  t.match(problem('ada.lovelace@example.org'), /e-mail/)
  t.equal(problem('  spaces  are kept  '), undefined)
  const codes = ['seven 7', 'y'.repeat(257), 'nul\0 in the middle', 'password', 'ada.lovelace'].map(
    (each) => rule(each).code
  )
  t.same(codes, ['too_short', 'too_long', 'invalid', 'too_common', 'same_as_address'])
})
