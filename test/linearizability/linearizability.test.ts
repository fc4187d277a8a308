/**
 * Short form of the check of linearizability, and what the check detects. `make test-faults` runs the long form.
 * Kafka is that of the test runner, without faults.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { engineAddress } from '#common/testing/service.ts'
import { checkLinearizability, startBed } from './check.ts'
import { buildChecker, type Checked, checkHistories } from './checker.ts'
import { createHistoryFile, type Operation } from './history.ts'
import { describe, printResult, unseen } from './report.ts'

const missing = await buildChecker()
const skip = missing === undefined ? false : `the histories cannot be checked: ${missing}`
const seed = Math.floor(Math.random() * 2 ** 31)

/** Operations one after the other, unless they have times. */
async function check(operations: (Partial<Operation> & Pick<Operation, 'name' | 'status'>)[]): Promise<Checked> {
  const directory = mkdtempSync(join(tmpdir(), 'histories-'))
  const file = createHistoryFile(join(directory, 'history.jsonl'))
  file.write(
    'one@example.org',
    operations.map((each, index) => ({ call: 10 * index, ...(each.status > 0 && { return: 10 * index + 5 }), ...each }))
  )
  await file.close()
  const results: Checked[] = []
  await checkHistories(file.path, (checked) => results.push(checked))
  rmSync(directory, { recursive: true })
  return results[0] as Checked
}

const registered = { name: 'register', status: 201, newPassword: 'p', session: 'a', account: 'u' }
const loggedIn = { name: 'login', status: 200, password: 'p', session: 'b', account: 'u' }
const valid = (by: string) => ({ name: 'validate', status: 200, by })
const invalid = (by: string) => ({ name: 'validate', status: 401, by })
const changed = { name: 'change', status: 200, by: 'a', password: 'p', newPassword: 'q', session: 'c' }

t.test('histories of a correct product', { skip }, async (t) => {
  const histories: Record<string, Parameters<typeof check>[0]> = {
    'a logout': [registered, valid('a'), { name: 'logout', status: 204, by: 'a' }, invalid('a')],
    'a change': [registered, loggedIn, changed, invalid('a'), invalid('b'), valid('c')],
    'a change whose outcome is unknown and that is applied later': [
      registered,
      { ...changed, status: 0 },
      loggedIn,
      valid('b'),
      { name: 'login', status: 401, password: 'p' },
      { name: 'login', status: 200, password: 'q', session: 'd', account: 'u' },
      valid('d')
    ],
    'a change whose outcome is unknown and that is never applied': [registered, { ...changed, status: 0 }, loggedIn],
    'an account that replaces a deleted one': [
      registered,
      { name: 'delete', status: 204, by: 'a' },
      { name: 'login', status: 401, password: 'p' },
      { ...registered, session: 'd', account: 'v' },
      valid('d'),
      invalid('a')
    ],
    'a validation during a logout': [
      registered,
      { name: 'logout', status: 204, by: 'a', call: 10, return: 50 },
      { ...invalid('a'), call: 20, return: 30 }
    ],
    'a reset by an emailed token': [
      registered,
      { name: 'email', status: 200, token: 'r' },
      { name: 'reset', status: 204, token: 'r', newPassword: 'q' },
      { name: 'reset', status: 403, token: 'r', newPassword: 's' },
      invalid('a')
    ]
  }
  for (const [name, operations] of Object.entries(histories)) {
    const checked = await check(operations)
    t.equal(checked.result, 'Ok', checked.result === 'Ok' ? name : describe(checked))
  }
})

t.test('histories of a broken product', { skip }, async (t) => {
  const email = { name: 'email', status: 200, token: 'r' }
  const histories: Record<string, Parameters<typeof check>[0]> = {
    'a session that is valid after its logout': [registered, { name: 'logout', status: 204, by: 'a' }, valid('a')],
    'a valid session that is answered 401': [registered, invalid('a')],
    'a session that is invalid and valid again': [
      registered,
      { name: 'logout', status: 0, by: 'a' },
      invalid('a'),
      valid('a')
    ],
    'a session that outlives a change': [registered, loggedIn, changed, valid('b')],
    'an old password after a change': [registered, changed, loggedIn],
    'a session that outlives its account': [registered, loggedIn, { name: 'delete', status: 204, by: 'a' }, valid('b')],
    'two accounts of an address': [registered, { ...registered, account: 'v' }],
    'a token that is used twice': [
      registered,
      email,
      { name: 'reset', status: 204, token: 'r', newPassword: 'q' },
      { name: 'reset', status: 204, token: 'r', newPassword: 's' }
    ],
    'a token that outlives a change': [
      registered,
      email,
      changed,
      { name: 'reset', status: 204, token: 'r', newPassword: 's' }
    ],
    'a list without a valid session': [
      registered,
      loggedIn,
      { name: 'list', status: 200, by: 'a', listed: ['a'], absent: ['b'] }
    ],
    'a kept session that ended': [registered, loggedIn, { name: 'end others', status: 204, by: 'a' }, invalid('a')]
  }
  for (const [name, operations] of Object.entries(histories)) t.equal((await check(operations)).result, 'Illegal', name)
})

t.test('the product', { skip }, async (t) => {
  const print = (line: string) => t.comment(line)
  const bed = await startBed(t, { print, brokers: engineAddress('TEST_KAFKA_BROKERS') })
  const load = { operations: 3000, seed, concurrentAddresses: 16, operationsPerAddress: 40 }

  await t.test('is linearizable over two gateways while engines and services are killed and frozen', async (t) => {
    const result = await checkLinearizability(bed, { ...load, maxSeconds: 15 })
    printResult(result, seed, print)
    t.same(result.violations, [])
    // A reset needs an email, and is rare in so short a run.
    t.same(
      unseen(result).filter((success) => success !== 'reset 204'),
      []
    )
    t.ok(result.faults > 0, 'faults were injected')
  })

  await t.test('is not linearizable with validations from a cache', async (t) => {
    const broken = 'staleValidations'
    const result = await checkLinearizability(bed, { ...load, operations: 500, pauseFactor: 0, broken })
    t.ok(result.violations.some((violation) => violation.result === 'Illegal'))
  })
})
