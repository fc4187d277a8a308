/** The highest cost of stored hashes: known before the first guess, read again, bounded by the ceiling. */

import { hashSync } from '@node-rs/bcrypt'
import t from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { createTestClock } from '#common/testing/test-clock.ts'
import { until } from '#common/testing/until.ts'
import { PasswordHashes } from '../../passwords/password-hashes.ts'
import { watchStoredCosts } from '../../passwords/stored-costs.ts'
import { startUserSvc } from '../service.ts'

const signal = new AbortController().signal
const base64 = (bytes: number) => Buffer.alloc(bytes, 7).toString('base64').replaceAll('=', '')

t.test('an unknown address costs as much as the costliest stored hash, from the first guess on', async (t) => {
  const { sql, db } = await startUserSvc(t)
  const insert = (hash: string) => sql`insert into users (id, email, password_hash, session_epoch)
    values (${uuidv7()}, ${`${uuidv7()}@example.org`}, ${hash}, 0)`
  const clock = createTestClock()
  const events: unknown[] = []
  const costs = watchStoredCosts(
    db,
    9,
    { warn: (fields: { event: string }) => events.push(fields.event) } as never,
    clock
  )
  t.teardown(costs.stop)
  let rounds = 0
  const observe = (_seconds: number, cost: number) => {
    rounds += 2 ** cost
  }
  const passwords = new PasswordHashes({ cost: 4, peppers: [], maxCost: 9 }, observe, costs.highest)
  async function roundsOf(stored: string | undefined): Promise<number> {
    rounds = 0
    await passwords.check('wrong horse', stored, signal)
    return rounds
  }

  await insert('none')
  await insert('damaged')
  await insert(`hs384:-:${hashSync('correct horse', { cost: 4 })}`)
  await insert(`hs384:-:${hashSync('correct horse', { cost: 6 })}`)
  t.equal(await costs.probeAfter(async () => 'a warning of the database')(), 'a warning of the database')
  t.equal(costs.highest(), 6)
  t.equal(await roundsOf(undefined), 2 ** 6)

  // Of one length and with one shape each: the costlier hash must not hide behind the other.
  const pbkdf2 = (iterations: number) => `$pbkdf2-sha256$${iterations}$${base64(16)}$${base64(32)}`
  await insert(pbkdf2(100 * 360))
  await insert(pbkdf2(200 * 360))
  await insert(hashSync('correct horse', { cost: 10 }))
  // More than one page, before the hashes above.
  await sql`insert into users (id, email, password_hash, session_epoch)
    select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, n || '@example.org', 'none', 0
    from generate_series(1, 5000) as n`
  await clock.advance(60_000)
  await until('the costs are read again', async () => {
    await clock.advance(50)
    return costs.highest() === 8
  })

  const stopped = watchStoredCosts(db, 9, { warn: t.fail } as never, createTestClock())
  const reading = stopped.probeAfter(async () => undefined)()
  stopped.stop()
  t.equal(await reading, undefined, 'a stop ends a reading between two pages, without a warning')
  t.equal(await roundsOf(undefined), 2 ** 8)
  t.equal(await roundsOf(hashSync('correct horse', { cost: 5 })), 2 ** 8)
  t.same(events, ['stored_hashes_too_costly'], 'a hash above the ceiling is reported and never computed')
  t.equal(passwords.importProblem(hashSync('correct horse', { cost: 10 })), 'HASH_TOO_COSTLY')
  t.equal(passwords.importProblem(hashSync('correct horse', { cost: 9 })), undefined)
  t.equal(await roundsOf(undefined), 2 ** 9, 'after an import on this instance')
})

t.test('the shapes of all supported hashes are told apart by their cost', async (t) => {
  const { sql, db } = await startUserSvc(t)
  const [salt, key] = [base64(16), base64(32)]
  const costly: Record<string, [cheap: string, costly: string]> = {
    argon2id: [`$argon2id$v=19$m=1024,t=1,p=1$${salt}$${key}`, `$argon2id$v=19$m=9216,t=1,p=1$${salt}$${key}`],
    django: [
      `argon2$argon2id$v=19$m=1024,t=1,p=1$${salt}$${key}`,
      `argon2$argon2id$v=19$m=9216,t=1,p=1$${salt}$${key}`
    ],
    scrypt: [`$scrypt$ln=10,r=8,p=1$${salt}$${key}`, `$scrypt$ln=12,r=8,p=1$${salt}$${key}`],
    'scrypt of Django': [`scrypt$1024$abcdefgh$8$1$${key}=`, `scrypt$4096$ijklmnop$8$1$${key}=`],
    fbscrypt: [
      `$fbscrypt$v=1,n=10,r=8,p=1,ss=Bw==,sk=${key}$${salt}$${key}`,
      `$fbscrypt$v=1,n=12,r=8,p=1,ss=Bw==,sk=${key}$${salt}$${key}`
    ],
    firescrypt: [
      `$firescrypt$ln=10,r=8,p=1$${salt}$${key}$Bw==$${key}`,
      `$firescrypt$ln=12,r=8,p=1$${salt}$${key}$Bw==$${key}`
    ],
    'pbkdf2 of Django': [`pbkdf2_sha256$10000$abcdefgh$${key}=`, `pbkdf2_sha256$61440$ijklmnop$${key}=`]
  }
  for (const [name, pair] of Object.entries(costly)) {
    const expected = new PasswordHashes({ cost: 4, peppers: [] }, () => {})
    for (const hash of pair) t.equal(expected.importProblem(hash), undefined, `${name} ${hash}`)
    await sql`delete from users`
    for (const hash of pair) {
      await sql`insert into users (id, email, password_hash, session_epoch) values (${uuidv7()}, ${`${uuidv7()}@example.org`}, ${hash}, 0)`
    }
    const highest = async () => {
      const costs = watchStoredCosts(db, 14, { warn: t.fail } as never, createTestClock())
      await costs.probeAfter(async () => undefined)()
      costs.stop()
      return costs.highest()
    }
    const both = await highest()
    await sql`delete from users where password_hash = ${pair[1]}`
    t.ok(both > (await highest()), name)
  }
})
