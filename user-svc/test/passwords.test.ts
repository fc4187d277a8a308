/** Passwords: what is accepted, that no two of them open the same account, and that old hashes still do. */

import { hashSync } from '@node-rs/bcrypt'
import fc from 'fast-check'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { createPasswords, normalizePassword, passwordViolation, UnusableHashError } from '../passwords.ts'

const signal = new AbortController().signal
const pepper = (name: string, byte: number) => `${name}:${Buffer.alloc(32, byte).toString('base64')}`
const passwords = createPasswords({ cost: 4, minLength: 8, peppers: [] }, () => {})

t.test('the rules for a new password', async (t) => {
  const problem = (password: string) => passwordViolation(password, 'ada.lovelace@example.org', 8)
  t.match(problem('seven 7'), /too short/)
  t.match(problem('🔑🔑🔑🔑🔑🔑🔑'), /too short/, 'length is counted in code points')
  t.equal(problem('🔑'.repeat(64)), undefined, '64 four-byte characters')
  t.equal(problem('x'.repeat(256).replace('x', 'y')), undefined)
  t.match(problem('y'.repeat(257)), /8 to 256/)
  t.match(problem('nul\0 in the middle'), /without NUL/)
  t.match(problem('lone \ud800 surrogate'), /well-formed/)
  for (const common of ['password', 'PassWord', '12345678', 'qwertyuiop', 'iloveyou'])
    t.match(problem(common), /commonest/)
  t.match(problem('auth-backend'), /commonest/)
  t.match(problem('ADA.LOVELACE'), /e-mail/)
  t.match(problem('ada.lovelace@example.org'), /e-mail/)
  t.equal(problem('  spaces  are kept  '), undefined)
})

t.test('P logs in with P, in any normal form, and with nothing else', async (t) => {
  const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 90 })
  const property = fc.asyncProperty(text, fc.string({ unit: 'binary', minLength: 1, maxLength: 4 }), async (p, x) => {
    fc.pre(normalizePassword(p) !== undefined)
    const stored = await passwords.hash(p, signal)
    if (!(await passwords.check(p.normalize('NFD'), stored, signal)).matches) return false
    for (const other of [p + x, x + p, `${p}\0`, `${p}\ud800`, ` ${p}`]) {
      if (normalizePassword(other) === normalizePassword(p)) continue
      if ((await passwords.check(other, stored, signal)).matches) return false
    }
    return true
  })
  await t.resolves(fc.assert(property, { numRuns: 60 }))
})

t.test('what differs only after 72 bytes differs', async (t) => {
  const start = 'x'.repeat(72)
  const own = await passwords.hash(start, signal)
  t.notOk((await passwords.check(`${start}y`, own, signal)).matches)
  const plain = hashSync(start, { cost: 4 })
  t.ok((await passwords.check(start, plain, signal)).matches)
  t.notOk((await passwords.check(`${start}y`, plain, signal)).matches)
})

t.test('plain hashes from elsewhere verify and are stale', async (t) => {
  for (const version of ['2a', '2b', '2y'] as const) {
    const stored = hashSync('correct horse', { cost: 4, version })
    t.same(await passwords.check('correct horse', stored, signal), { matches: true, stale: true })
    t.match(await passwords.check('wrong horse', stored, signal), { matches: false })
  }
})

t.test('peppers rotate: the newest hashes, the older still verify, a removed one is an alarm', async (t) => {
  const before = createPasswords({ cost: 4, minLength: 8, peppers: [pepper('a', 1)] }, () => {})
  const after = createPasswords({ cost: 4, minLength: 8, peppers: [pepper('b', 2), pepper('a', 1)] }, () => {})
  const stored = await before.hash('correct horse', signal)
  t.match(stored, /^hs384:a:/)
  t.same(await before.check('correct horse', stored, signal), { matches: true, stale: false })
  t.same(await after.check('correct horse', stored, signal), { matches: true, stale: true })
  t.match(await after.hash('correct horse', signal), /^hs384:b:/)
  await t.rejects(passwords.check('correct horse', stored, signal), UnusableHashError)
})

/** How much bcrypt work a failed check does, in rounds: equal work is what equal time comes from. */
function countRounds(cost: number) {
  let rounds = 0
  const counted = createPasswords({ cost, minLength: 8, peppers: [] }, (_seconds, each) => {
    rounds += 2 ** each
  })
  async function roundsOf(written: string, stored: string | undefined): Promise<number> {
    rounds = 0
    const { matches } = await counted.check(written, stored, signal).catch(() => ({ matches: false }))
    t.notOk(matches)
    return rounds
  }
  return { counted, roundsOf }
}

t.test('every check that fails does the same work, whether or not there is such an account', async (t) => {
  const { counted, roundsOf } = countRounds(8)
  const stored = await counted.hash('correct horse', signal)
  t.equal(await roundsOf('wrong horse', stored), 2 ** 8)
  t.equal(await roundsOf('wrong horse', undefined), 2 ** 8, 'an unknown address')
  t.equal(await roundsOf('wrong horse', hashSync('correct horse', { cost: 5 })), 2 ** 8, 'a cheaper hash')
  t.equal(await roundsOf('nul \0', stored), 2 ** 8, 'a password that nobody can have')
  t.equal(await roundsOf('x'.repeat(5000), stored), 2 ** 8)
  for (const unusable of ['', 'x', 'hs384:gone:x', hashSync('x', { cost: 4 }).replace('$04$', '$18$')]) {
    t.equal(await roundsOf('wrong horse', unusable), 2 ** 8, 'a hash that cannot be used')
  }
})

t.test('after the cost was lowered, a failed check costs what the dearest hash that was seen does', async (t) => {
  const { roundsOf } = countRounds(5)
  t.equal(await roundsOf('wrong horse', undefined), 2 ** 5)
  t.equal(await roundsOf('wrong horse', hashSync('correct horse', { cost: 7 })), 2 ** 7)
  t.equal(await roundsOf('wrong horse', undefined), 2 ** 7)
  t.equal(await roundsOf('wrong horse', hashSync('correct horse', { cost: 5 })), 2 ** 7)
})

t.test(
  'a hash is not begun for a caller that has disconnected, and one that has begun ends when its thread is free',
  async (t) => {
    const answer =
      'the hash of a disconnected caller is not computed unless it has begun, and a begun one keeps its core'
    await fieldCase(t, 1, answer, async (t) => {
      const costs: number[] = []
      const counted = createPasswords({ cost: 11, minLength: 8, peppers: [] }, (_seconds, cost) => costs.push(cost))
      const gone = AbortSignal.abort(new Error('the client disconnected'))
      const cheap = hashSync('correct horse', { cost: 9 })
      await t.rejects(counted.hash('correct horse', gone), /disconnected/)
      for (const stored of [undefined, 'damaged', cheap]) {
        await t.rejects(counted.check('wrong horse', stored, gone), /disconnected/)
      }
      t.same(costs, [])

      const leaving = new AbortController()
      const begun = counted.hash('correct horse', leaving.signal)
      leaving.abort(new Error('the client disconnected'))
      t.match(await begun, /^hs384:/)
      t.same(costs, [11], 'it settles when it has been computed, and is counted')

      const during = new AbortController()
      const check = counted.check('wrong horse', cheap, during.signal)
      during.abort(new Error('the client disconnected'))
      await t.rejects(check, /disconnected/)
      t.same(costs, [11, 9], 'the computations behind the first one are not begun')
    })
  }
)
