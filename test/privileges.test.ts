/** Privileges under `make run`: each process has the secrets and the rights that it needs, and no others. */

import { spawnSync } from 'node:child_process'
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { createClient } from 'redis'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { engineUser, systemUser } from '../stack/system-user.ts'
import { runTool } from '../stack/tool.ts'
import { attackKafka, kafkaAttacks } from './support/kafka-attacks.ts'
import { longBudgets, newAddress, password } from './support/product.ts'
import { descendants, startStack, temporaryDataDir } from './support/stack-run.ts'

t.setTimeout(300_000)
const dataDir = temporaryDataDir(t)
const isRoot = process.getuid?.() === 0
const targets = isRoot ? await plantLinks() : ''
const pepper = `a:${Buffer.alloc(32, 'pepper').toString('base64')}`
const stack = startStack(t, dataDir, {
  ...longBudgets,
  GATEWAY_RATE_LIMIT_ENABLED: 'true',
  USER_SVC_PASSWORD_PEPPERS: pepper,
  RPC_PREVIOUS_ADMIN_TOKEN: 'previous-admin-token',
  RPC_PREVIOUS_TOKEN: 'previous-token',
  OTHER_PROGRAM_SECRET: 'secret-of-the-caller'
})
await stack.printed(/^ready$/)

const fileContent = (name: string) => readFileSync(join(dataDir, name), 'utf8').trim()

/** A generated key, as configuration writes it. */
const keyOf = (name: string) => Buffer.from(fileContent(name), 'base64url').toString('base64')

/** The environment of a process, as the system shows it. */
function environmentOf(command: string): Record<string, string> {
  const [pid] = descendants(stack.pid).find(([, line]) => line.includes(command)) ?? []
  const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  return Object.fromEntries(
    variables.map((variable) => [variable.split('=', 1)[0], variable.slice(variable.indexOf('=') + 1)])
  )
}

t.test('the environment of a process has only the secrets that it uses', async (t) => {
  const secrets: Record<string, string> = {
    'superuser of PostgreSQL': fileContent('postgres-password'),
    'owner of the tables': fileContent('postgres-owner-password'),
    'PostgreSQL password': fileContent('postgres-service-password'),
    'admin of Redis': fileContent('redis-password'),
    'Redis of gateway': fileContent('redis-gateway-password'),
    'Redis of session-svc': fileContent('redis-session-svc-password'),
    'rpc token': fileContent('rpc-token'),
    'gateway token': fileContent('gateway-token'),
    'user-svc token': fileContent('user-svc-token'),
    'validation token': fileContent('validation-token'),
    'admin token': fileContent('admin-token'),
    'admin of Kafka': fileContent('kafka-password'),
    'Kafka broker': fileContent('kafka-broker-password'),
    'Kafka of gateway': fileContent('kafka-gateway-password'),
    'Kafka of user-svc': fileContent('kafka-user-svc-password'),
    'Kafka of session-svc': fileContent('kafka-session-svc-password'),
    'Kafka of log-sink': fileContent('kafka-log-sink-password'),
    'consumer of events': fileContent('kafka-consumer-password'),
    'mail key': keyOf('mail-key'),
    'device key': keyOf('device-key'),
    'event key': keyOf('event-key'),
    pepper,
    'previous token': 'previous-token',
    'previous admin token': 'previous-admin-token',
    'secret of the caller': 'secret-of-the-caller'
  }
  const secretsIn = (command: string) => {
    const values = Object.values(environmentOf(command))
    return Object.keys(secrets).filter((name) => values.some((value) => value.includes(secrets[name] as string)))
  }
  t.same(secretsIn('gateway/server.ts'), ['Redis of gateway', 'gateway token', 'Kafka of gateway'])
  t.same(secretsIn('session-svc/server.ts'), [
    'Redis of session-svc',
    'rpc token',
    'gateway token',
    'user-svc token',
    'validation token',
    'Kafka of session-svc',
    'previous token'
  ])
  const ofUserSvc = [
    'PostgreSQL password',
    'rpc token',
    'gateway token',
    'user-svc token',
    'admin token',
    'Kafka of user-svc',
    'mail key',
    'device key',
    'event key',
    'pepper'
  ]
  t.same(secretsIn('user-svc/server.ts'), [...ofUserSvc, 'previous token', 'previous admin token'])
  t.same(secretsIn('log-sink/server.ts'), ['Kafka of log-sink'])
  for (const engine of ['postgres -D', 'redis-server', 'kafka.Kafka']) t.same(secretsIn(engine), [], engine)
})

t.test('no service and no engine runs as root', { skip: !isRoot }, async (t) => {
  const userOf = (command: string) => {
    const [pid] = descendants(stack.pid).find(([, line]) => line.includes(command)) ?? []
    return spawnSync('ps', ['-o', 'user:40=', '-p', `${pid}`], { encoding: 'utf8' }).stdout.trim()
  }
  for (const service of ['gateway', 'user-svc', 'session-svc', 'log-sink'])
    t.equal(userOf(`${service}/server.ts`), 'auth-backend', service)
  for (const engine of ['redis-server', 'kafka.Kafka']) t.equal(userOf(engine), 'auth-backend-engines', engine)
  t.equal(userOf('postgres -D'), 'postgres')
  const { uid } = statSync(join(dataDir, 'spool'))
  const files = ['kafka-settings/server.properties', 'redis-settings/users.acl', 'rpc-token', 'kafka-password']
  const script = 'for path; do test -r "$path" && echo "$path"; done'
  const readable = spawnSync('sh', ['-c', script, 'sh', ...files.map((name) => join(dataDir, name))], { uid, cwd: '/' })
  t.equal(`${readable.stdout}`, '', 'the user of the services cannot read the passwords of the engines')
  t.notMatch(stack.lines.join('\n'), /as root/)
})

/** Replaces each file of an earlier version in the folders of the engines by a link of their user to a file of root. */
async function plantLinks(): Promise<string> {
  const user = await systemUser(engineUser)
  const folder = mkdtempSync(join(tmpdir(), 'targets-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const links = {
    kafka: ['server.properties', 'format.properties', 'server.properties.new', 'logs.new', 'jars'],
    redis: ['users.acl', 'users.acl.new']
  }
  for (const [engine, names] of Object.entries(links)) {
    mkdirSync(join(dataDir, engine))
    for (const name of names) {
      writeFileSync(join(folder, name), 'of root', { mode: 0o640 })
      symlinkSync(join(folder, name), join(dataDir, engine, name))
    }
    await runTool('chown', ['-hR', `${user.uid}:${user.gid}`, join(dataDir, engine)])
  }
  return folder
}

t.test('root writes nothing into the folder of an engine', { skip: !isRoot }, async (t) => {
  for (const name of readdirSync(targets)) {
    const { uid, mode } = statSync(join(targets, name))
    t.same([uid, mode & 0o777, readFileSync(join(targets, name), 'utf8')], [0, 0o640, 'of root'], name)
  }
  for (const engine of ['kafka', 'redis', 'postgres']) {
    const { uid } = statSync(join(dataDir, engine))
    const entries = readdirSync(join(dataDir, engine), { recursive: true }).map(String)
    // An engine deletes files meanwhile.
    const ownerOf = (name: string) => lstatSync(join(dataDir, engine, name), { throwIfNoEntry: false })?.uid ?? uid
    const ofOthers = entries.filter((name) => ownerOf(name) !== uid)
    t.same(ofOthers, [], engine)
  }
  for (const [path, mode] of [
    ['kafka-settings', 0o750],
    ['kafka-settings/server.properties', 0o640],
    ['redis-settings', 0o750],
    ['redis-settings/users.acl', 0o640]
  ] as const) {
    const found = statSync(join(dataDir, path))
    t.same([found.uid, found.mode & 0o777], [0, mode], path)
  }
})

t.test('the role of user-svc reads and writes the rows of its tables, and nothing else', async (t) => {
  const { USER_SVC_POSTGRES_URL, USER_SVC_POSTGRES_MIGRATION_URL } = environmentOf('user-svc/server.ts')
  t.equal(USER_SVC_POSTGRES_MIGRATION_URL, '', 'user-svc has no role with DDL')
  const service = postgres(USER_SVC_POSTGRES_URL as string, { max: 1, onnotice: () => {} })
  t.teardown(() => service.end())
  t.match(await service`select current_user as name, (select count(*)::int from users) as n`, [
    { name: 'auth_service', n: 0 }
  ])
  const roles = await service`select rolname, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls from pg_roles
    where rolname ~ '^auth_' order by 1`
  const none = { rolsuper: false, rolcreaterole: false, rolcreatedb: false, rolbypassrls: false }
  t.same(roles, [
    { rolname: 'auth_owner', ...none },
    { rolname: 'auth_service', ...none }
  ])
  const refused = [
    "copy users from program 'id'",
    "select pg_read_file('/etc/passwd')",
    'create table mine (id int)',
    'create temporary table mine (id int)',
    'create schema mine',
    'alter table users add column mine int',
    'drop table outbox',
    'truncate users',
    'create index mine on users (email)',
    'select lo_create(0)',
    'select lo_creat(-1)',
    "select lo_from_bytea(0, 'mine')",
    'delete from drizzle.__drizzle_migrations',
    'set role auth_owner',
    'set role auth'
  ]
  for (const statement of refused)
    await t.rejects(service.unsafe(statement), /permission denied|must be owner/, statement)

  const others = ['postgres', 'template1'].map((database) => {
    return Object.assign(new URL(USER_SVC_POSTGRES_URL as string), { pathname: `/${database}` })
  })
  for (const { href, pathname } of others) {
    const other = postgres(href, { max: 1, onnotice: () => {} })
    await t.rejects(other`select 1`, /permission denied for database/, `a connection to ${pathname}`)
    await other.end()
  }

  const login = { username: 'auth_owner', password: fileContent('postgres-owner-password') }
  const ownerUrl = Object.assign(new URL(USER_SVC_POSTGRES_URL as string), login).href
  const owner = postgres(ownerUrl, { max: 1, onnotice: () => {} })
  t.teardown(() => owner.end())
  t.match(await owner`select distinct tableowner from pg_tables where schemaname in ('public', 'drizzle')`, [
    { tableowner: 'auth_owner' }
  ])
  await t.rejects(owner.unsafe("copy users from program 'id'"), /permission denied/)
  const connected = await owner`select distinct usename from pg_stat_activity
    where application_name like 'user-svc%' and datname = 'auth'`
  t.same(connected, [{ usename: 'auth_service' }], 'the connection of the migration has ended')
})

t.test('the users of Redis run the commands of their service on its keys only', async (t) => {
  async function replyTo(url: string, ...command: string[]): Promise<string> {
    const client = createClient({ url, socket: { reconnectStrategy: false } })
    client.on('error', () => {})
    try {
      await client.connect()
      return await client.sendCommand(command).then(String, ({ message }: Error) => message)
    } catch (error) {
      return (error as Error).message
    } finally {
      client.destroy()
    }
  }
  const gateway = environmentOf('gateway/server.ts').REDIS_URL as string
  const sessionSvc = environmentOf('session-svc/server.ts').REDIS_URL as string
  t.match([gateway, sessionSvc], [/\/\/gateway:/, /\/\/session-svc:/])
  t.equal(await replyTo(gateway, 'INCR', 'rl:test'), '1')
  t.equal(await replyTo(sessionSvc, 'HLEN', 's:{test}'), '0')
  const forbidden = [
    [gateway, 'HSET', 's:{user}', 'hash', 'session'],
    [gateway, 'INCR', 's:{user}'],
    [gateway, 'GET', 'rl:test'],
    [gateway, 'EVAL', "return redis.call('HSET', 's:{user}', 'hash', 'session')", '0'],
    [sessionSvc, 'SET', 'rl:test', '0'],
    ...[gateway, sessionSvc].flatMap((url) => [
      [url, 'CONFIG', 'SET', 'appendonly', 'no'],
      [url, 'FLUSHALL'],
      [url, 'KEYS', '*'],
      [url, 'SCAN', '0'],
      [url, 'ACL', 'LIST'],
      [url, 'CLIENT', 'KILL', 'TYPE', 'normal'],
      [url, 'SHUTDOWN'],
      [url, 'SAVE'],
      [url, 'REPLICAOF', '127.0.0.1', '1'],
      [url, 'MONITOR']
    ])
  ] as [string, ...string[]][]
  for (const [url, ...command] of forbidden)
    t.match(
      await replyTo(url, ...command),
      /NOPERM|ACL failure|The user executing the script can't/,
      `${new URL(url).username}: ${command.join(' ')}`
    )
  const anonymous = new URL(gateway)
  anonymous.username = ''
  anonymous.password = ''
  t.match(await replyTo(anonymous.href, 'PING'), /NOAUTH/)
  anonymous.password = fileContent('redis-password')
  t.match(await replyTo(anonymous.href, 'PING'), /WRONGPASS/, 'the default user')
})

t.test('the product works', async (t) => {
  const base = await stack.address('gateway', /REST/)
  const json = { 'content-type': 'application/json' }
  const account = { email: newAddress(), password }
  const response = await fetch(`${base}/reg`, { method: 'POST', headers: json, body: JSON.stringify(account) })
  t.equal(response.status, 201)
  const { session } = (await response.json()) as { session: { token: string } }
  const authorization = `Bearer ${session.token}`
  const call = async (method: string, path: string, body?: object) =>
    (
      await fetch(base + path, {
        method,
        headers: { ...(body && json), authorization },
        body: body ? JSON.stringify(body) : null
      })
    ).status
  t.equal(await call('GET', '/session'), 200)
  t.equal(await call('GET', '/sessions'), 200)
  t.equal(await call('POST', '/password/reset', { email: account.email }), 202)
  t.equal(await call('DELETE', '/delete'), 204)
  t.equal(await call('GET', '/session'), 401)
  for (const name of ['gateway', 'user-svc', 'session-svc', 'log-sink']) {
    const ops = await stack.address(name, /ops/)
    t.notMatch(await (await fetch(`${ops}/readyz?verbose`)).text(), /\[-\]|denied|NOPERM/, name)
  }
  t.notMatch(fileContent('run/gateway.log'), /rate_limit_local/, 'limits are counted in Redis')
})

t.test('a client of Kafka can do what its user needs, and nothing else', async (t) => {
  const brokers = [await stack.address('kafka', /Kafka/)]
  const as = (username: string, file = `kafka-${username}-password`, names = kafkaAttacks) =>
    attackKafka({ brokers, sasl: { mechanism: 'plain', username, password: fileContent(file) } }, names)
  const write = ['write a log line']
  const permitted = {
    gateway: write,
    'session-svc': write,
    'user-svc': [...write, 'write an event'],
    'log-sink': [...write, 'join the group of log-sink'],
    consumer: ['read events']
  }
  // user-svc creates the topic; before that, a consumer is refused, since it may not create it.
  await until('the topic of events exists', async () => {
    const { succeeded } = await as('consumer', undefined, ['read events'])
    return succeeded.length === 1
  })
  await Promise.all([
    attackKafka({ brokers }).then(({ succeeded }) => t.same(succeeded, [], 'anonymous')),
    as('gateway', 'kafka-consumer-password').then(({ refusals }) =>
      t.same(refusals, ['KafkaJSSASLAuthenticationError'], 'wrong password')
    ),
    ...Object.entries(permitted).map(async ([user, attacks]) => {
      const { succeeded, refusals } = await as(user)
      t.same(succeeded, attacks, `${user}; refused: ${refusals}`)
    })
  ])

  const settings = fileContent('kafka-settings/server.properties')
  const [, controller] = /CONTROLLER:\/\/(127\.0\.0\.1:\d+)/.exec(settings) ?? []
  const sasl = { mechanism: 'plain' as const, username: 'admin', password: fileContent('kafka-password') }
  const { refusals } = await attackKafka({ brokers: [controller as string], sasl })
  t.same(refusals, ['KafkaJSSASLAuthenticationError'], 'only the broker logs in at the controller')
  // A join is possible: log-sink has shown it, and another one would wait for a rebalance.
  const attacks = kafkaAttacks.filter((name) => !name.startsWith('join'))
  const operator = { brokers, sasl: { ...sasl, password: fileContent('kafka-password') } }
  t.same((await attackKafka(operator, attacks)).succeeded, attacks, 'each attack succeeds with all rights')
})
