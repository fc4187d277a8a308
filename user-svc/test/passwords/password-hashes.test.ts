/** Password hashes: no two passwords match the same hash, old hashes still match, every failed check does the same work. */

import { hashSync } from '@node-rs/bcrypt'
import fc from 'fast-check'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { PasswordHashes } from '../../passwords/password-hashes.ts'
import { normalizePassword } from '../../passwords/password-rules.ts'
import { UnusableHashError } from '../../passwords/stored-hash.ts'

const signal = new AbortController().signal
const pepper = (name: string, byte: number) => `${name}:${Buffer.alloc(32, byte).toString('base64')}`
const passwords = new PasswordHashes({ cost: 4, peppers: [] }, () => {})

t.test('a password matches its hash in any normal form, and no other password does', async (t) => {
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

t.test('passwords that differ only after 72 bytes differ', async (t) => {
  const start = 'x'.repeat(72)
  const own = await passwords.hash(start, signal)
  t.notOk((await passwords.check(`${start}y`, own, signal)).matches)
  const plain = hashSync(start, { cost: 4 })
  t.ok((await passwords.check(start, plain, signal)).matches)
  t.notOk((await passwords.check(`${start}y`, plain, signal)).matches)
})

t.test('plain bcrypt hashes of other systems match and are stale', async (t) => {
  for (const version of ['2a', '2b', '2y'] as const) {
    const stored = hashSync('correct horse', { cost: 4, version })
    t.same(await passwords.check('correct horse', stored, signal), { matches: true, stale: true })
    t.match(await passwords.check('wrong horse', stored, signal), { matches: false })
  }
})

t.test('hashes with the newest pepper, checks with older ones, and fails for a removed one', async (t) => {
  const before = new PasswordHashes({ cost: 4, peppers: [pepper('a', 1)] }, () => {})
  const after = new PasswordHashes({ cost: 4, peppers: [pepper('b', 2), pepper('a', 1)] }, () => {})
  const stored = await before.hash('correct horse', signal)
  t.match(stored, /^hs384:a:/)
  t.same(await before.check('correct horse', stored, signal), { matches: true, stale: false })
  t.same(await after.check('correct horse', stored, signal), { matches: true, stale: true })
  t.match(await after.hash('correct horse', signal), /^hs384:b:/)
  await t.rejects(passwords.check('correct horse', stored, signal), UnusableHashError)
})

/** Counts the bcrypt rounds of a failed check: equal work means equal time, also on a busy machine. */
function countRounds(cost: number) {
  let rounds = 0
  const counted = new PasswordHashes({ cost, peppers: [] }, (_seconds, each) => {
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

t.test('every failed check does the same work, with and without an account', async (t) => {
  const { counted, roundsOf } = countRounds(8)
  const stored = await counted.hash('correct horse', signal)
  t.equal(await roundsOf('wrong horse', stored), 2 ** 8)
  t.equal(await roundsOf('wrong horse', undefined), 2 ** 8, 'an unknown address')
  t.equal(await roundsOf('wrong horse', hashSync('correct horse', { cost: 5 })), 2 ** 8, 'a cheaper hash')
  t.equal(await roundsOf('nul \0', stored), 2 ** 8, 'a password that no account can have')
  t.equal(await roundsOf('x'.repeat(5000), stored), 2 ** 8)
  for (const unusable of ['', 'x', 'hs384:gone:x', hashSync('x', { cost: 4 }).replace('$04$', '$18$')]) {
    t.equal(await roundsOf('wrong horse', unusable), 2 ** 8, 'a hash that cannot be used')
  }
})

t.test('after the cost was lowered, a failed check costs as much as the most expensive hash seen', async (t) => {
  const { roundsOf } = countRounds(5)
  t.equal(await roundsOf('wrong horse', undefined), 2 ** 5)
  t.equal(await roundsOf('wrong horse', hashSync('correct horse', { cost: 7 })), 2 ** 7)
  t.equal(await roundsOf('wrong horse', undefined), 2 ** 7)
  t.equal(await roundsOf('wrong horse', hashSync('correct horse', { cost: 5 })), 2 ** 7)
})

const answer = 'a hash of a disconnected caller is not started, and one that is running keeps its core'
fieldCase(t, 1, answer, async (t) => {
  const costs: number[] = []
  const counted = new PasswordHashes({ cost: 11, peppers: [] }, (_seconds, cost) => costs.push(cost))
  const disconnected = AbortSignal.abort(new Error('the client disconnected'))
  const cheap = hashSync('correct horse', { cost: 9 })
  await t.rejects(counted.hash('correct horse', disconnected), /disconnected/)
  for (const stored of [undefined, 'damaged', cheap]) {
    await t.rejects(counted.check('wrong horse', stored, disconnected), /disconnected/)
  }
  t.same(costs, [])

  const duringHash = new AbortController()
  const running = counted.hash('correct horse', duringHash.signal)
  duringHash.abort(new Error('the client disconnected'))
  t.match(await running, /^hs384:/)
  t.same(costs, [11], 'it settles when it has been computed, and is counted')

  const duringCheck = new AbortController()
  const check = counted.check('wrong horse', cheap, duringCheck.signal)
  duringCheck.abort(new Error('the client disconnected'))
  await t.rejects(check, /disconnected/)
  t.same(costs, [11, 9], 'the further computations of the check are not started')
})
