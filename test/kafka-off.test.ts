/** `KAFKA=off make run`: the three services that answer requests, with PostgreSQL and Redis alone. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { createTestDatabase, engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { runTool } from '../stack/tool.ts'
import { newAddress, password } from './support/product.ts'
import { startStack, temporaryDataDir } from './support/stack-run.ts'

t.setTimeout(600_000)
const make = ['make', '--no-print-directory', 'run']

t.test('without Kafka it is ready, warns of nothing, and shows its logs', async (t) => {
  const dataDir = temporaryDataDir(t)
  // As a provider prints it, beside variables of libpq that would change every connection.
  const postgres = `${await createTestDatabase(t)}?schema=public&channel_binding=prefer&connection_limit=5`
  const stack = startStack(
    t,
    dataDir,
    { USER_SVC_POSTGRES_URL: postgres, REDIS_URL: engineAddress('TEST_REDIS_URL'), PGHOST: 'nowhere', PGPASSWORD: 'x' },
    [...make, 'KAFKA=off']
  )
  await stack.printed(/^ready$/)
  t.same(
    [...stack.lines, ...stack.errors].filter((line) => /log-sink|no Kafka|kafka:|going on/i.test(line)),
    [],
    'no output names Kafka or log-sink'
  )
  t.notOk(existsSync(join(dataDir, 'kafka')))
  t.notOk(existsSync(join(dataDir, 'run', 'log-sink.log')))

  const base = await stack.address('gateway', /REST/)
  const response = await fetch(`${base}/reg`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: newAddress(), password })
  })
  t.equal(response.status, 201)
  const { session } = (await response.json()) as { session: { token: string } }
  const authorization = `Bearer ${session.token}`
  t.equal((await fetch(`${base}/delete`, { method: 'DELETE', headers: { authorization } })).status, 204)
  for (const name of ['gateway', 'user-svc', 'session-svc']) {
    const ops = await stack.address(name, /ops/)
    t.notMatch(await (await fetch(`${ops}/readyz?verbose`)).text(), /kafka/)
    const metrics = await (await fetch(`${ops}/metrics`)).text()
    t.notMatch(metrics, /log_spool_limit_bytes|dependency="kafka"/)
    t.match(metrics, /^log_dropped_total\{reason="spool_full"\} 0$/m)
  }
  const users = await stack.address('user-svc', /ops/)
  await until('the event of the deletion is done', async () =>
    /^auth_outbox_pending 0$/m.test(await (await fetch(`${users}/metrics`)).text())
  )

  const trace = response.headers.get('x-request-id') as string
  const env = { ...process.env, STACK_DATA_DIR: dataDir, KAFKA: 'off', MAKEFLAGS: '' }
  await until('make logs shows the request in two services', async () => {
    const shown = await runTool('make', ['--no-print-directory', 'logs', `TRACE=${trace}`], { env })
    return /"service":"gateway"/.test(shown) && /"service":"user-svc"/.test(shown)
  })
  const spool = readdirSync(join(dataDir, 'spool'), { recursive: true, withFileTypes: true })
  const lines = spool
    .filter(({ name }) => name.endsWith('.ndjson'))
    .flatMap(({ parentPath, name }) => readFileSync(join(parentPath, name), 'utf8').split('\n'))
  t.same(
    lines.filter((line) => /"level":"(warn|error|fatal)"/.test(line) && /kafka|broker|log_/i.test(line)),
    [],
    'no warning is about Kafka'
  )
})

t.test('a misspelt variable or value on the command line stops the start', async (t) => {
  const mistakes: [string[], NodeJS.ProcessEnv, RegExp][] = [
    [['KAFKA=of'], {}, /^KAFKA: must be on or off, got "of"$/],
    [['KAFKA=false'], {}, /^KAFKA: must be on or off, got "false"$/],
    [['KAFAK=off'], {}, /^KAFAK: unknown variable, takes GATEWAYS.* \(the nearest is KAFKA\)$/],
    [['GATEWAY=2'], {}, /^GATEWAY: unknown variable.* \(the nearest is GATEWAYS\)$/],
    [[], { GATEWAY: '2' }, /^GATEWAY: unknown variable, the nearest is GATEWAYS$/],
    [[], { USER_SVC: '2' }, /^USER_SVC: unknown variable, the nearest is USER_SVCS$/]
  ]
  for (const [variables, env, message] of mistakes) {
    const stack = startStack(t, temporaryDataDir(t), env, [...make, ...variables])
    await stack.exited
    t.match(stack.errors[0], message)
    t.match(stack.errors[1], /^make: /)
    t.equal(stack.errors.length, 2)
  }
})

fieldCase(t, 14, 'make run names the key of an address whose password is not encoded', async (t) => {
  for (const [name, value] of [
    ['REDIS_URL', 'redis://:100%@127.0.0.1:1'],
    ['USER_SVC_POSTGRES_URL', 'postgres://auth:S3@cretTail/x@127.0.0.1:1/auth']
  ] as const) {
    const stack = startStack(t, temporaryDataDir(t), { [name]: value })
    t.same(await stack.exited, [1, null])
    t.match(stack.errors, [/^(redis\.url|userSvc\.postgres\.url): got a value \(not shown\) from .* percent-encoded/])
    t.equal(stack.errors.length, 1)
    t.notMatch([...stack.lines, ...stack.errors].join(), /100%@|S3|Tail/)
  }
})
