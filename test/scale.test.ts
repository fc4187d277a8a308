/** Two of each service behind nothing but their ports: they share the load, hold the limits and the promises together, and survive each other. */

import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { until } from '#common/testing/until.ts'
import { newAddress, password } from './support/product.ts'
import { descendants, startStack, temporaryDataDir } from './support/stack-run.ts'

type Stack = ReturnType<typeof startStack>

const environment = {
  ...{ GATEWAYS: '2', USER_SVCS: '2', SESSION_SVCS: '2' },
  ...{ GATEWAY_RATE_LIMIT_ENABLED: 'true', GATEWAY_RATE_LIMIT_CREDENTIALS_MAX: '10' },
  GATEWAY_TRUSTED_PROXIES: '127.0.0.1/32',
  // For a busy machine: the time of a login is not under test here.
  ...{ GATEWAY_BUDGETS_REG: '20s', GATEWAY_BUDGETS_AUTH: '20s' }
}
const json = { 'content-type': 'application/json' }
const rowOf = (what: RegExp) => new RegExp(` +\\S+ +${what.source}`)

/** The addresses of both instances of a service, from the table. */
async function addresses(stack: Stack, name: string, what: RegExp): Promise<[string, string]> {
  const rows = [`^${name}`, `^${name} 2`].map((start) => new RegExp(start + rowOf(what).source))
  const lines = await Promise.all(rows.map((row) => stack.printed(row)))
  return lines.map((line) => /\S*:\d+/.exec(line)?.[0] ?? '') as [string, string]
}

/** A client address that no other request has. */
const newClient = () => `10.${randomInt(256)}.${randomInt(256)}.${randomInt(256)}`

async function call(base: string, method: string, path: string, token?: string, body?: unknown, client = newClient()) {
  const headers = {
    'x-forwarded-for': client,
    ...(token && { authorization: `Bearer ${token}` }),
    ...(body !== undefined && json)
  }
  const init = { method, headers, body: body === undefined ? null : JSON.stringify(body) }
  const response = await fetch(`${base}${path}`, { ...init, signal: AbortSignal.timeout(30_000) })
  const text = await response.text()
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text) }
}

const statusOf = (...asked: Parameters<typeof call>) =>
  call(...asked).then(
    ({ status }) => status,
    () => 0
  )

/** The sum of a metric's series on an ops port. */
async function metric(ops: string, name: string, label = ''): Promise<number> {
  const lines = (await (await fetch(`${ops}/metrics`)).text()).split('\n')
  const own = lines.filter((line) => line.startsWith(name) && line.includes(label))
  return own.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

async function register(base: string): Promise<{ email: string; token: string }> {
  const email = newAddress()
  const { status, body } = await call(base, 'POST', '/reg', undefined, { email, password })
  if (status !== 201) throw new Error(`registration was answered with ${status}`)
  return { email, token: body.session.token }
}

/** How often each answer came while `during` ran, from callers that never pause. */
async function answersDuring(callers: (() => Promise<number>)[], during: () => Promise<void>) {
  const seen: Record<number, number> = {}
  let over = false
  const loops = callers.map(async (ask) => {
    while (!over) {
      const status = await ask()
      seen[status] = (seen[status] ?? 0) + 1
      await sleep(2)
    }
  })
  await during()
  over = true
  await Promise.all(loops)
  return seen
}

function kill(stack: Stack, command: string, index: number): void {
  const victim = descendants(stack.pid).filter(([, line]) => line.includes(command))[index]
  if (!victim) throw new Error(`${command} does not run`)
  process.kill(victim[0], 'SIGKILL')
}

t.test('two of each', async (t: Test) => {
  const stack = startStack(t, temporaryDataDir(t), environment)
  await stack.printed(/^ready$/, 120_000)
  const gateways = await addresses(stack, 'gateway', /REST$/)
  const ops = {
    gateway: await addresses(stack, 'gateway', /ops:/),
    userSvc: await addresses(stack, 'user-svc', /ops:/),
    sessionSvc: await addresses(stack, 'session-svc', /ops:/)
  }
  const [a, b] = gateways
  t.equal(
    new Set([...gateways, ...ops.gateway, ...ops.userSvc, ...ops.sessionSvc]).size,
    8,
    'each has ports of its own'
  )

  await t.test('share the load', async (t) => {
    const users: Awaited<ReturnType<typeof register>>[] = []
    // In small groups: a busy machine sheds more, and shedding is not under test here.
    while (users.length < 20)
      users.push(...(await Promise.all(gateways.flatMap((each) => [register(each), register(each)]))))
    for (let round = 0; round < 10; round += 1) {
      const answers = users.map(({ token }, index) =>
        statusOf(gateways[(round + index) % 2] as string, 'GET', '/session', token)
      )
      t.same(new Set(await Promise.all(answers)), new Set([200]))
    }
    for (const [name, instances, series] of [
      ['user-svc', ops.userSvc, 'auth_registrations_total'],
      ['session-svc', ops.sessionSvc, 'auth_session_validations_total'],
      ['session-svc', ops.sessionSvc, 'auth_sessions_created_total']
    ] as const) {
      const [one, other] = (await Promise.all(instances.map((each) => metric(each, series)))) as [number, number]
      const share = one / (one + other)
      t.ok(share > 0.25 && share < 0.75, `${name}: ${series} is ${one} and ${other}`)
    }
  })

  await t.test('hold a limit together', async (t) => {
    const client = newClient()
    const body = { email: newAddress(), password }
    const logins = Array.from({ length: 30 }, (_, index) =>
      statusOf(gateways[index % 2] as string, 'POST', '/auth', undefined, body, client)
    )
    const admitted = (await Promise.all(logins)).filter((status) => status !== 429)
    t.equal(admitted.length, 10, 'the sum, not twice the limit')
  })

  await t.test('a session that ended at one gateway is invalid at the other, from the response on', async (t) => {
    let alive = 0
    for (let round = 0; round < 30; round += 1) {
      const [here, there] = round % 2 === 0 ? [a, b] : [b, a]
      const { email, token } = await register(here)
      const { body } = await call(there, 'POST', '/auth', undefined, { email, password })
      const tokens = [token, body.session.token]
      // Validations through both gateways race with the end.
      const meanwhile = Array.from({ length: 6 }, (_, index) =>
        statusOf(gateways[index % 2] as string, 'GET', '/session', tokens[index % 2])
      )
      const path = round % 4 < 2 ? '/logout' : '/delete'
      t.equal(await statusOf(here, 'DELETE', path, token), 204)
      const ended = path === '/delete' ? tokens : [token]
      const validations = ended.flatMap((each) =>
        gateways.flatMap((base) => [base, base].map((one) => [one, each] as const))
      )
      const answers = await Promise.all(validations.map(([base, each]) => statusOf(base, 'GET', '/session', each)))
      alive += answers.filter((status) => status !== 401).length
      t.ok((await Promise.all(meanwhile)).every((status) => status === 200 || status === 401))
    }
    t.equal(alive, 0)
  })

  await t.test('one of two instances of a service is killed under load', async (t) => {
    const { token } = await register(a)
    const sessions = gateways.flatMap((base) =>
      Array.from({ length: 8 }, () => () => statusOf(base, 'GET', '/session', token))
    )
    for (const name of ['session-svc', 'user-svc']) {
      const startedAt = performance.now()
      const seen = await answersDuring(sessions, async () => {
        await sleep(500)
        kill(stack, `${name}/server.ts`, 1)
        await stack.printed(new RegExp(`^${name}.* ended \\(signal SIGKILL\\)`))
        await sleep(3000)
      })
      const asked = Object.values(seen).reduce((sum, count) => sum + count, 0)
      const failed = asked - (seen[200] ?? 0)
      t.comment(
        `${name} killed: ${asked} calls in ${Math.round(performance.now() - startedAt)} ms: ${JSON.stringify(seen)}`
      )
      t.same(
        Object.keys(seen).filter((status) => !['200', '503'].includes(status)),
        [],
        'nothing but clean answers'
      )
      t.ok(failed <= asked / 100, `${failed} of ${asked} calls failed`)
      t.equal(await statusOf(a, 'POST', '/reg', undefined, { email: newAddress(), password }), 201)
    }
    kill(stack, 'gateway/server.ts', 1)
    for (let asked = 0; asked < 50; asked += 1) {
      const statuses = await Promise.all(gateways.map((base) => statusOf(base, 'GET', '/session', token)))
      t.ok(statuses.includes(200), 'the other gateway answers')
      t.ok(statuses.every((status) => status === 200 || status === 0))
    }
    await until('all are back', async () =>
      (await Promise.all(gateways.map((base) => statusOf(base, 'GET', '/session', token)))).every(
        (each) => each === 200
      )
    )
  })

  stack.child.kill('SIGTERM')
  t.same(await stack.exited, [0, null])
})

t.test('a number of processes that is none is one line', async (t) => {
  for (const written of ['0', 'two', '100']) {
    const stack = startStack(t, temporaryDataDir(t), { SESSION_SVCS: written })
    t.same(await stack.exited, [1, null])
    t.same(stack.errors, [`SESSION_SVCS: must be a whole number from 1 to 32, got ${JSON.stringify(written)}`])
  }
})
