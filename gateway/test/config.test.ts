/** The gateway's configuration: what it refuses, and that its defaults are the documented ones. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ConfigError, loadConfig } from '#common/config/load.ts'
import { load, schema } from '../config.ts'

const directory = mkdtempSync(join(tmpdir(), 'config-'))
t.teardown(() => rmSync(directory, { recursive: true }))
const file = join(directory, 'config.yml')
writeFileSync(file, '')
const read = (env: NodeJS.ProcessEnv = {}) => loadConfig(schema, { CONFIG_FILE: file, ...env })

t.test('the defaults', async (t) => {
  const { gateway } = read()
  t.match(gateway, {
    host: '127.0.0.1',
    port: 8080,
    opsHost: '127.0.0.1',
    opsPort: 9464,
    trustedProxies: [],
    budgets: { session: 1000, logout: 3000, delete: 3000, reg: 5000, auth: 5000, account: 3000, password: 5000 },
    origins: [],
    reauthenticationWindow: 900_000,
    rateLimit: { enabled: true }
  })
})

t.test('Swagger UI, OpenAPI and reflection are off in production unless they are set', async (t) => {
  const on = ({ gateway, rpc }: ReturnType<typeof read>) => [gateway.docs, rpc.reflection]
  t.same(on(read()), [true, true])
  t.same(on(read({ NODE_ENV: 'production' })), [false, false])
  t.same(on(read({ NODE_ENV: 'production', GATEWAY_DOCS: 'true', RPC_REFLECTION: 'true' })), [true, true])
  writeFileSync(file, 'gateway: { docs: true }')
  t.same(on(read({ NODE_ENV: 'production' })), [true, false])
  writeFileSync(file, '')
  t.same(on(read({ GATEWAY_DOCS: 'false', RPC_REFLECTION: 'false' })), [false, false])
})

t.test('impossible values are named', async (t) => {
  const mistakes: [name: string, value: string, path: string][] = [
    ['GATEWAY_PORT', '65536', 'gateway.port'],
    ['GATEWAY_PORT', '80 ', 'gateway.port'],
    ['GATEWAY_BUDGETS_SESSION', '0s', 'gateway.budgets.session'],
    ['GATEWAY_BUDGETS_REG', '2h', 'gateway.budgets.reg'],
    ['GATEWAY_RATE_LIMIT_ENABLED', 'yes', 'gateway.rateLimit.enabled'],
    ['GATEWAY_RATE_LIMIT_CREDENTIALS_MAX', '0', 'gateway.rateLimit.credentialsMax'],
    ['GATEWAY_RATE_LIMIT_WINDOW', '1ms', 'gateway.rateLimit.window'],
    ['LOG_LEVEL', 'INFO', 'log.level'],
    ['RPC_USER_SVC_URL', 'localhost:50051', 'rpc.userSvcUrl'],
    ['RPC_SESSION_SVC_URL', 'http://a:1,b:2', 'rpc.sessionSvcUrl'],
    ['RPC_SESSION_SVC_URL', 'http://a:1/x,http://b:2', 'rpc.sessionSvcUrl'],
    ['REDIS_TOPOLOGY', 'many', 'redis.topology'],
    ['LOG_SPOOL_DIRECTORY', '', 'log.spool.directory'],
    ['KAFKA_LOGS_TOPIC', '..', 'kafka.logs.topic'],
    ['KAFKA_ACCOUNT_EVENTS_TOPIC', '.', 'kafka.accountEvents.topic'],
    ['REDIS_NODES', 'localhost', 'redis.nodes'],
    ['REDIS_URL', 'http://hunter2@localhost', 'redis.url']
  ]
  for (const [name, value, path] of mistakes) {
    t.throws(() => read({ [name]: value }), {
      name: 'ConfigError',
      message: new RegExp(`^${path.replaceAll('.', '\\.')}: got .* from ${name}, takes `)
    })
  }
})

t.test('a host to listen at is never empty, which would be every address of the machine', async (t) => {
  const hosts = ['', ' ', '*', '0', '8080', '127.0.0.1:8080', '127.1', '[::1]', '::1]', 'a b', 'http://localhost', '-a']
  for (const name of ['GATEWAY_HOST', 'GATEWAY_OPS_HOST']) {
    for (const host of hosts) {
      t.throws(
        () => read({ [name]: host }),
        { message: /^gateway\.(h|opsH)ost: got .* takes an IP address or a/ },
        host
      )
    }
  }
  for (const host of [
    'localhost',
    '0.0.0.0',
    '::',
    '::1',
    'fe80::1%lo',
    'gateway_1',
    'a-1.example.org.',
    '127.0.0.1'
  ]) {
    t.equal(read({ GATEWAY_HOST: host }).gateway.host, host)
  }
})

const token = 'kD83hfZq0LmWx7RbTn5YvGc2PsJu9AeE'

/** Loads the configuration from an environment; the process's own is back after the test. */
function loader(t: Test) {
  const saved = { ...process.env }
  t.teardown(() => {
    process.env = saved
  })
  return (env: NodeJS.ProcessEnv) => {
    process.env = { CONFIG_FILE: file, ...env }
    try {
      return load()
    } catch (error) {
      t.ok(error instanceof ConfigError)
      return (error as Error).message
    }
  }
}

t.test('a missing credential or Redis stops the start with its name, and no secret is shown', async (t) => {
  const loadWith = loader(t)
  t.match(loadWith({}), /^rpc\.token: is missing/)
  t.match(loadWith({ RPC_TOKEN: token }), /^redis\.url: is missing/)
  t.match(loadWith({ RPC_TOKEN: token, REDIS_URL: 'redis://:hunter2@127.0.0.1' }), { rpc: { token } })
  const oneTopic = loadWith({ RPC_TOKEN: token, KAFKA_LOGS_TOPIC: 'account-events' })
  t.match(oneTopic, /^kafka\.accountEvents\.topic: got "account-events", takes a topic other than kafka\.logs\.topic/)
  const weak = loadWith({ RPC_TOKEN: 'hunter2', REDIS_URL: 'redis://127.0.0.1', NODE_ENV: 'production' })
  t.match(weak, /^rpc\.token: /)
  t.notMatch(weak, /hunter2/)
})

t.test('a service may have one URL or several, and Redis one server or many', (t) => {
  const loadWith = loader(t)
  const several = loadWith({
    RPC_TOKEN: token,
    RPC_USER_SVC_URL: 'http://a:1',
    RPC_SESSION_SVC_URL: 'http://a:1, https://b:2',
    REDIS_TOPOLOGY: 'cluster',
    REDIS_NODES: '10.0.0.1:6379,[::1]:6379'
  })
  t.match(several, {
    rpc: { userSvcUrl: ['http://a:1'], sessionSvcUrl: ['http://a:1', 'https://b:2'] },
    redis: { nodes: ['10.0.0.1:6379', '[::1]:6379'] }
  })
  t.match(loadWith({ RPC_TOKEN: token, REDIS_TOPOLOGY: 'cluster' }), /^redis\.nodes: is missing/)
  const unnamed = { RPC_TOKEN: token, REDIS_TOPOLOGY: 'sentinel', REDIS_NODES: 'a:1' }
  t.match(loadWith(unnamed), /^redis\.sentinelName: is missing/)
  t.end()
})

t.test('pages for development are not on an address that other machines reach', async (t) => {
  const strong = 'q7Zk2mXw9RtB4vLs8NdH3cJy6PfG1aUe5'
  const production = { NODE_ENV: 'production', RPC_TOKEN: strong, REDIS_URL: `redis://:Kx4${strong}@127.0.0.1` }
  const withDocs = (env: NodeJS.ProcessEnv) => loader(t)({ ...production, GATEWAY_DOCS: 'true', ...env })
  t.match(withDocs({ GATEWAY_HOST: '0.0.0.0' }), /^gateway\.docs: got true beside gateway\.host 0\.0\.0\.0/)
  t.match(
    withDocs({ GATEWAY_TRUSTED_PROXIES: '127.0.0.1/32' }),
    /^gateway\.docs: .* without gateway\.trustedProxies only/
  )
  t.type(withDocs({}), 'object')
  t.match(loader(t)({ ...production, REDIS_URL: `redis://:Kx4${strong}@redis` }), /^redis\.url: is a plaintext/)
})
