/** The gate on guesses as operators see it: metrics and log lines of bounds and refusals, spellings of an address, the switch. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { newTrace } from '#common/ops/trace.ts'
import { until } from '#common/testing/until.ts'
import { createGuessGate, type ReservedGuess } from '../../brute-force/guess-gate.ts'
import { createGuessRows } from '../../brute-force/guess-rows.ts'
import { newAddress, password, rejection, startAccountTests } from '../accounts/account-tests.ts'
import { startUserSvc } from '../service.ts'

const lines: string[] = []
const log = createLogger('user-svc', 'info', { write: (line) => void lines.push(line) })
const service = await startAccountTests(t, { log, deviceKeys: [`k:${randomBytes(32).toString('base64')}`] })
const { client, registry, sql } = service
const wrong = 'wrong password 1'

/** The series of a counter that are not zero, by the value of their label. */
async function counts(name: string): Promise<Record<string, number>> {
  const text = await registry.getSingleMetricAsString(name)
  const series = [...text.matchAll(/\{\w+="(\w+)"\} (\d+)/g)].map(([, label, value]) => [label, Number(value)] as const)
  return Object.fromEntries(series.filter(([, value]) => value > 0))
}

async function guess(email: string, network: string, times: number, deviceToken?: string): Promise<void> {
  for (let count = 0; count < times; count += 1) {
    const from = { network, ...(deviceToken !== undefined && { deviceToken }) }
    await rejection(client.authenticateAndLogin({ email, password: wrong, client: from }))
  }
}

t.test('each bound of an account is logged once and counted, and so is each refusal', async (t) => {
  const email = newAddress()
  const first = await client.registerAndLogin({ email, password })
  const userId = first.user?.id
  const devices = [first.deviceToken]
  for (let count = 0; count < 2; count += 1) {
    devices.push((await client.authenticateAndLogin({ email, password })).deviceToken)
  }
  lines.length = 0
  /** @returns the lines and the metric of bounds since the last call */
  async function reached() {
    const written = lines.splice(0)
    for (const secret of [email, wrong, '192.0.2.', '198.51.100.', ...devices]) {
      t.notOk(
        written.some((line) => line.includes(String(secret))),
        'no line has an address, a network or a secret'
      )
    }
    const events = written.map((line) => JSON.parse(line)).filter(({ event }) => event === 'authn_login_fail_max')
    const fields = events.map(({ level, reason, count, userId }) => ({ level, reason, count, userId }))
    return { fields, metric: await counts('auth_guess_bounds_reached_total') }
  }

  for (const device of devices) await guess(email, '192.0.2.250', 5, device)
  t.same(await reached(), {
    fields: [{ level: 'warn', reason: 'device', count: 15, userId }],
    metric: { device: 1 }
  })
  for (let network = 0; network < 12; network += 1) await guess(email, `192.0.2.${network}`, 5)
  t.same(await reached(), {
    fields: [{ level: 'warn', reason: 'any', count: 75, userId }],
    metric: { device: 1, any: 1 }
  })
  t.same(await counts('auth_guesses_refused_total'), {})
  await guess(email, '192.0.2.0', 2)
  t.same(await counts('auth_guesses_refused_total'), { network: 2 })
  for (let network = 0; network < 25; network += 1) {
    await sql`update guess_counts set paced_until = paced_until - interval '1 hour'`
    await guess(email, `198.51.100.${network}`, 1)
  }
  t.same(await reached(), {
    fields: [{ level: 'warn', reason: 'fresh', count: 100, userId }],
    metric: { device: 1, any: 1, fresh: 1 }
  })
  await guess(email, '198.51.100.200', 3)
  await guess(email, '192.0.2.250', 3, devices[0])
  t.same(await counts('auth_guesses_refused_total'), { network: 2, account: 6 })
  t.same((await reached()).fields, [], 'a refused guess reaches no bound again')
})

t.test('the bound of an address without an account is logged without a user id', async (t) => {
  lines.length = 0
  const email = newAddress()
  for (let network = 0; network < 12; network += 1) await guess(email, `192.0.2.${network}`, 5)
  const events = lines.map((line) => JSON.parse(line)).filter(({ event }) => event === 'authn_login_fail_max')
  t.match(events, [{ reason: 'any', count: 60, userId: undefined }])
  t.notOk(lines.some((line) => line.includes(email)))
})

t.test('a client that disconnects does not suppress the report of a bound', async (t) => {
  const observed: string[] = []
  const observer = { onAdmitted() {}, onRefused() {}, onBoundReached: (bound: string) => void observed.push(bound) }
  const gate = createGuessGate(createGuessRows(service.db), observer)
  const endings = {
    'during the hash': (guess: ReservedGuess) => guess.abandon(),
    'during the write': (guess: ReservedGuess, client: AbortController) => {
      void rejection(guess.fail())
      client.abort()
    }
  }
  for (const [when, end] of Object.entries(endings)) {
    lines.length = 0
    observed.length = 0
    const email = newAddress()
    for (let count = 0; count < 60; count += 1) {
      const client = new AbortController()
      const call = { signal: client.signal, caller: 'gateway', timeoutMs: () => 10_000, trace: newTrace(), log }
      const from = { network: `192.0.2.${count}`, device: undefined }
      end(await gate.reserve({ email, user: undefined, userId: undefined, ...from }, call), client)
    }
    await until(`the report of a guess ${when}`, () => observed.length > 0)
    t.same(observed, ['any'], when)
    t.equal(lines.filter((line) => line.includes('authn_login_fail_max')).length, 1, when)
  }
})

t.test('a failed release of a guess is logged, also after the client has disconnected', async (t) => {
  await sql.unsafe(`
    create function reject_release() returns trigger language plpgsql as $$ begin raise 'rejected by the test'; end $$;
    create trigger reject_release before update on guess_counts for each row execute function reject_release()`)
  t.teardown(() => sql`drop function reject_release cascade`)
  const gate = createGuessGate(createGuessRows(service.db), { onAdmitted() {}, onRefused() {}, onBoundReached() {} })
  const call = { caller: 'gateway', timeoutMs: () => 10_000, trace: newTrace(), log, signal: AbortSignal.abort() }
  const from = { network: '192.0.2.1', device: undefined }
  lines.length = 0
  await rejection(gate.reserve({ email: newAddress(), user: undefined, userId: undefined, ...from }, call))
  await until('the log line', () => lines.length > 0)
  t.match(
    lines.map((line) => JSON.parse(line)),
    [{ level: 'warn', event: 'guess_count_failed', msg: 'failed to release a guess' }]
  )
})

t.test('the spellings of one address count together, and those of other addresses do not', async (t) => {
  const local = `ada${randomBytes(4).toString('hex')}`
  const email = `${local}+x@bücher.example`
  const spellings = [
    `${local}+x@xn--bcher-kva.example`,
    `${local.toUpperCase()}+X@BÜCHER.EXAMPLE`,
    `${local}+x@bu\u0308cher.example`,
    `${local}+x@bücher.example`,
    `${local}+x@bü\u00adcher.example`
  ]
  for (const written of [email, `${local}@bücher.example`, `${local}+y@bücher.example`]) {
    await client.registerAndLogin({ email: written, password })
  }
  const from = { client: { network: '192.0.2.1' } }
  const logIn = (email: string) =>
    client.authenticateAndLogin({ email, password, ...from }).then(
      () => true,
      () => false
    )
  const before = await sql`select 1 from guess_counts`
  for (const written of spellings) await guess(written, '192.0.2.1', 1)
  const after = await sql`select 1 from guess_counts`
  t.equal(after.length, before.length + 1, 'one count')
  for (const written of spellings) t.equal(await logIn(written), false, `the sixth guess, as ${written}`)
  t.equal(await logIn(`${local}@bücher.example`), true, 'without the tag: another account')
  t.equal(await logIn(`${local}+y@bücher.example`), true, 'with another tag: another account')
})

t.test('bruteForce.enabled: false turns the gate off', async (t) => {
  const email = newAddress()
  const open = (await startUserSvc(t, { url: service.url, bruteForce: false })).client
  const from = { client: { network: '192.0.2.1' } }
  await open.registerAndLogin({ email, password })
  const before = await sql`select count(*)::int as n from guess_counts`
  for (let count = 0; count < 8; count += 1)
    await rejection(open.authenticateAndLogin({ email, password: wrong, ...from }))
  await t.resolves(open.authenticateAndLogin({ email, password, ...from }), 'after eight wrong passwords of a network')
  t.same(await sql`select count(*)::int as n from guess_counts`, before)
  await guess(email, '192.0.2.1', 5)
  await rejection(client.authenticateAndLogin({ email, password, ...from }))
})
