/** `make run` from outside: it starts, prints the addresses, restarts programs, and leaves no process. */

import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import { createClient } from 'redis'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { newAddress, password } from './support/product.ts'
import { alive, descendants, startStack, temporaryDataDir } from './support/stack-run.ts'

const json = { 'content-type': 'application/json' }

async function call(base: string, method: string, path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${base}${path}`, { method, signal: AbortSignal.timeout(5000), ...init })
}

async function statusOf(response: Promise<Response>): Promise<number> {
  return response.then(
    ({ status }) => status,
    () => 0
  )
}

t.test('it starts, keeps itself running with its data, and leaves nothing behind', async (t) => {
  const dataDir = temporaryDataDir(t)
  const email = newAddress()
  const body = JSON.stringify({ email, password })
  const logIn = (base: string) => statusOf(call(base, 'POST', '/auth', { headers: json, body }))
  const stack = startStack(t, dataDir)
  await stack.printed(/^ready$/)
  t.equal(stack.lines.at(-1), 'ready', 'the word is alone on the last line')
  const base = await stack.address('gateway', /REST/)

  t.notMatch(stack.lines.join('\n'), /:[^/@\s]+@/, 'no password is printed')
  const { session } = (await (await call(base, 'POST', '/reg', { headers: json, body })).json()) as {
    session: { token: string }
  }
  const showMail = () =>
    spawnSync(process.execPath, ['stack/mail.ts'], { env: { ...process.env, STACK_DATA_DIR: dataDir } })
  await until('the email is a file', () => showMail().status === 0)
  const firstLine = new RegExp(
    `^${base.replace('127.0.0.1', 'localhost')}/playground#verify=[\\w-]{64}\n\nTo: ${email}\n`
  )
  t.match(`${showMail().stdout}`, firstLine, 'make mail shows the link first')
  const authorization = `Bearer ${session.token}`
  const validate = () => statusOf(call(base, 'GET', '/session', { headers: { authorization } }))
  t.equal(await validate(), 200)

  const readable = readdirSync(dataDir, { recursive: true, withFileTypes: true }).filter((entry) => {
    // A link to the programs, which are no data.
    if (entry.parentPath === join(dataDir, 'kafka-settings', 'jars')) return false
    // The group is that of the engine, if root starts it.
    const others = entry.parentPath.endsWith('-settings') ? 0o027 : 0o077
    // A service may replace a file meanwhile.
    const stat = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })
    return entry.isFile() && ((stat?.mode ?? 0) & others) !== 0
  })
  t.same(
    readable.map(({ name }) => name),
    [],
    'no other user can read its files'
  )
  const redis = createClient({
    url: (await stack.address('redis', /Redis/)).replace(/\/$/, ''),
    socket: { reconnectStrategy: false }
  })
  redis.on('error', () => {})
  await t.rejects(
    redis.connect().then(() => redis.ping()),
    { message: /NOAUTH/ }
  )
  redis.destroy()

  const second = startStack(t, dataDir)
  t.same(await second.exited, [1, null], 'a second run on the same data ends')
  t.same(second.errors, [`stack.dataDir: process ${stack.pid} already runs on ${dataDir}`])

  const victims = { postgres: 'postgres -D', redis: 'redis-server', 'user-svc': 'user-svc/server.ts' }
  for (const [name, command] of Object.entries(victims)) {
    const victim = descendants(stack.pid).find(([, line]) => line.includes(command))
    t.ok(victim, `${name} runs`)
    process.kill(victim?.[0] as number, 'SIGKILL')
    await stack.printed(new RegExp(`^${name} ended \\(signal SIGKILL\\); restarting it`))
  }
  await until('the account can log in again', async () => (await logIn(base)) === 200, 30_000)
  await until('the session is still valid', async () => (await validate()) === 200)

  const niceOf = (command: string) => {
    const [pid = 0] = descendants(stack.pid).find(([, line]) => line.includes(command)) ?? []
    return getPriority(pid)
  }
  const own = niceOf('gateway/server.ts')
  t.same([niceOf('session-svc/server.ts'), niceOf('user-svc/server.ts')], [own, own])
  const logNices = () => [niceOf('log-sink/server.ts'), niceOf('kafka.Kafka')]
  await until('the log yields to the services', () => logNices().every((nice) => nice === own + 10), 60_000)

  const before = descendants(stack.pid)
  stack.child.kill('SIGTERM')
  t.same(await stack.exited, [0, null], 'SIGTERM is a clean stop')
  // The reaper ends when it notices that the run has ended.
  await until('no process is left', () => alive(before).length === 0, 10_000)
  t.notOk(existsSync(join(dataDir, 'run', 'lock')), 'no lock is left')

  const again = startStack(t, dataDir)
  await again.printed(/^ready$/)
  t.equal(await logIn(await again.address('gateway', /REST/)), 200, 'the account is there after a restart')
  const orphans = descendants(again.pid)
  t.ok(orphans.length >= 7, 'three engines and four services run')
  again.child.kill('SIGKILL')
  await once(again.child, 'exit')
  const next = startStack(t, dataDir)
  await next.printed(/^ready$/)
  t.same(alive(orphans), [], 'a killed run leaves no process behind, and the next one waits for that')
  t.equal(await logIn(await next.address('gateway', /REST/)), 200, 'the account is there after a crash')
  const last = descendants(next.pid)
  next.child.kill('SIGKILL')
  await until('all processes of the killed run are gone', () => alive(last).length === 0)
})

t.test('it stops when the make that started it is killed', async (t) => {
  const stack = startStack(t, temporaryDataDir(t), {}, ['make', '--no-print-directory', 'run'])
  await stack.printed(/^ready$/)
  const processes = descendants(stack.pid)
  t.ok(processes.length >= 8)
  stack.child.kill('SIGKILL')
  await until('all processes are gone', () => alive(processes).length === 0)
})

t.test('a port that is taken is one line, and nothing is started', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const dataDir = temporaryDataDir(t)
  const stack = startStack(t, dataDir, { USER_SVC_PORT: String(port) })
  t.same(await stack.exited, [1, null])
  t.equal(stack.errors.length, 1)
  t.match(stack.errors[0], new RegExp(`^userSvc.port: port ${port} is in use by \\S+ \\(process ${process.pid}\\)$`))
  t.notOk(existsSync(join(dataDir, 'postgres')))
})

t.test('a data directory that cannot be made is one line', async (t) => {
  const file = join(temporaryDataDir(t), 'a-file')
  writeFileSync(file, '')
  const stack = startStack(t, file)
  t.same(await stack.exited, [1, null])
  t.same(stack.errors, [`stack.dataDir: ${file} cannot be used: ENOTDIR`])
})

t.test('a lock that cannot be taken, as on a full disk, is one line', async (t) => {
  const dataDir = temporaryDataDir(t)
  mkdirSync(join(dataDir, 'run', 'lock', 'x'), { recursive: true })
  const stack = startStack(t, dataDir)
  t.same(await stack.exited, [1, null])
  t.same(stack.errors, [`stack.dataDir: ${dataDir} cannot be used: EISDIR`])
})

t.test('two keys with the same port are one line', async (t) => {
  const stack = startStack(t, temporaryDataDir(t), { GATEWAY_PORT: '58123', GATEWAY_OPS_PORT: '58123' })
  t.same(await stack.exited, [1, null])
  t.same(stack.errors, ['gateway.opsPort: port 58123 is also the value of gateway.port'])
})

t.test('a mistake in the configuration is one line', async (t) => {
  const stack = startStack(t, temporaryDataDir(t), { GATEWAY_PORT: 'http' })
  t.same(await stack.exited, [1, null])
  t.equal(stack.errors.length, 1)
  t.match(stack.errors[0], /^gateway\.port: got "http"/)
})

t.test('a configured engine that does not answer is one line without its password', async (t) => {
  const redisUrl = 'redis://:keepthis@127.0.0.1:1'
  const stack = startStack(t, temporaryDataDir(t), { REDIS_URL: redisUrl, KAFKA_BROKERS: '127.0.0.1:1' })
  t.same(await stack.exited, [1, null])
  t.same(stack.errors, ['redis.url: no answer from its address (ECONNREFUSED)'])
  t.notMatch(stack.lines.join(), /keepthis/)
})
