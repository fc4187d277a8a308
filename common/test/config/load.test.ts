/** Loading the configuration: accepted values, precedence, and the message for each mistake. */

import { writeFileSync } from 'node:fs'
import t from 'tap'
import { keyPaths } from '#common/config/catalogue.ts'
import { environmentName, loadConfig } from '#common/config/load.ts'
import { requireStrongAdminToken, requireStrongRpcToken } from '#common/config/shared-sections.ts'
import { file, load, messageOf, schema } from './example.ts'

t.test('an empty file gives the defaults', async (t) => {
  for (const content of ['', '# nothing\n', 'gateway:\n', '{}']) {
    t.match(load(content), { gateway: { port: 8080, rateLimit: { enabled: true }, wait: 60_000, peers: [] } })
  }
  t.match(loadConfig(schema, { CONFIG_FILE: '' }, { otherKeys: keyPaths }), { gateway: { port: 8080 } })
})

t.test('the file overrides the defaults, the environment overrides the file', async (t) => {
  t.equal(load('gateway: {port: 1}').gateway.port, 1)
  t.equal(load('gateway: {port: 1}', { GATEWAY_PORT: '2' }).gateway.port, 2)
  t.equal(load('', { GATEWAY_RATE_LIMIT_ENABLED: 'false' }).gateway.rateLimit.enabled, false)
  t.same(load('', { GATEWAY_PEERS: 'a, b' }).gateway.peers, ['a', 'b'])
  t.same(load('gateway: {peers: [a, b]}', { GATEWAY_PEERS: '' }).gateway.peers, [])
  t.equal(environmentName('userSvc.bruteForce.maxPerUser'), 'USER_SVC_BRUTE_FORCE_MAX_PER_USER')
})

t.test('durations', async (t) => {
  const ms = { '1500ms': 1500, '30s': 30_000, '15m': 900_000, '1h': 3_600_000, '90': 90_000 }
  for (const [written, value] of Object.entries(ms)) t.equal(load('', { GATEWAY_WAIT: written }).gateway.wait, value)
  t.equal(load('gateway: {wait: 90}').gateway.wait, 90_000)
  for (const written of ['1.5s', '2h', '1', '-5s', '5 s', '', 's', '1e3']) {
    const bad = written === '1' ? '500ms' : written
    t.throws(() => load('', { GATEWAY_WAIT: bad }), { message: /^gateway\.wait: got .* takes a time from 1s to 1h/ })
  }
})

t.test('the message for a mistake is one line with the key, the value and the accepted values', async (t) => {
  const mistakes: [string, NodeJS.ProcessEnv, RegExp][] = [
    ['gatway: {}', {}, /^gatway: unknown section in .*config\.yml, takes gateway, userSvc/],
    ['gateway: {prot: 1}', {}, /^gateway\.prot: unknown key in .*, takes host, port, /],
    ['gateway: {rateLimit: {on: true}}', {}, /^gateway\.rateLimit\.on: unknown key/],
    ['gateway: {rateLimit: true}', {}, /^gateway\.rateLimit: got a boolean, takes a section/],
    ['gateway: 5', {}, /^gateway: got a number, takes a section/],
    ['- a', {}, /takes sections/],
    ['gateway: {port: "80"}', {}, /^gateway\.port: got "80", takes a port/],
    ['gateway: {port: 65536}', {}, /^gateway\.port: got 65536/],
    ['gateway: {port: null}', {}, /^gateway\.port: got null/],
    ['gateway: {max: 0}', {}, /^gateway\.max: got 0, takes a whole number from 1 to 10$/],
    ['', { GATEWAY_MAX: '12abc' }, /^gateway\.max: got "12abc" from GATEWAY_MAX/],
    ['', { GATEWAY_MAX: '' }, /^gateway\.max: got "" from GATEWAY_MAX/],
    ['', { GATEWAY_RATE_LIMIT_ENABLED: '1' }, /takes true or false/],
    ['gateway: {peers: a}', {}, /^gateway\.peers: got "a", takes a list/],
    ['', { GATEWAY_PEERS: 'a,B' }, /takes a list of words/],
    [
      'gateway: {port: 1}\ngateway: {port: 2}',
      {},
      /config\.yml: is not valid YAML at line 2, column 1 \(DUPLICATE_KEY\)/
    ],
    ['gateway: {port: 1', {}, /config\.yml: /]
  ]
  for (const [content, env, message] of mistakes) {
    t.throws(() => load(content, env), { name: 'ConfigError', message })
    t.throws(() => load(content, env), { message: /^[^\n]*$/ })
  }
  t.throws(() => loadConfig(schema, { CONFIG_FILE: '/nowhere/config.yml' }), { message: /ENOENT/ })
})

t.test('all mistakes are reported at once, one on each line', async (t) => {
  const content = 'gateway: {prot: 1, max: 0, port: "80"}\nrpc: {token: hunter2 x}\nuserSvc: {prot: 1}'
  const message = messageOf(() => load(content, { REDIS_ULR: 'hunter2', GATEWAY_WAIT: '2h', NODE_ENV: 'prod' }))
  const lines = [
    /^NODE_ENV: got "prod"/,
    /^REDIS_ULR: unknown variable/,
    /^gateway\.prot: unknown key/,
    /^userSvc\.prot: unknown key/,
    /^gateway\.port: got "80", takes a port/,
    /^gateway\.max: got 0, takes a whole number/,
    /^gateway\.wait: got "2h" from GATEWAY_WAIT, takes a time/,
    /^rpc\.token: got a value \(not shown\), takes a text/
  ]
  t.match(message.split('\n'), lines)
  t.equal(message.split('\n').length, lines.length)
  t.notMatch(message, /hunter2/)
})

t.test('a section that only another service reads is unknown unless its keys are passed in', async (t) => {
  writeFileSync(file, 'userSvc: {port: 1}')
  const message = /^userSvc: unknown section .*, takes gateway, rpc/
  t.throws(() => loadConfig(schema, { CONFIG_FILE: file }), { message })
})

t.test('accepts a key of another service and rejects an unknown one', async (t) => {
  t.doesNotThrow(() => load('userSvc: {port: 1, password: {cost: 12}}\nlogSink:\nsessionSvc: {}'))
  const mistakes: [string, RegExp][] = [
    ['userSvc: {prot: 1}', /^userSvc\.prot: unknown key in .*, takes host, port,.* \(the nearest is port\)$/],
    ['userSvc: {password: {costs: 1}}', /^userSvc\.password\.costs: unknown key .* \(the nearest is cost\)$/],
    ['userSvc: {password: 12}', /^userSvc\.password: got a number, takes a section/],
    ['session: {idle_timeout: 1h}', /^session\.idle_timeout: unknown key .* \(the nearest is idleTimeout\)$/],
    ['stack: {dataDirs: x}', /^stack\.dataDirs: unknown key/],
    ['sessionService: {}', /^sessionService: unknown section .* \(the nearest is sessionSvc\)$/],
    ['<<: {gateway: {port: 1}}', /^<<: unknown section/]
  ]
  for (const [content, message] of mistakes) t.throws(() => load(content), { name: 'ConfigError', message }, content)
})

t.test('the keys that scripts rely on exist', async (t) => {
  const relied = ['gateway.port', 'gateway.rateLimit.enabled', 'userSvc.bruteForce.enabled', 'userSvc.password.cost']
  for (const path of [...relied, 'session.idleTimeout', 'session.lifetime', 'log.level', 'rpc.token'])
    t.ok(keyPaths.includes(path), path)
  t.doesNotThrow(() => load('userSvc: {bruteForce: {enabled: true}}', { USER_SVC_BRUTE_FORCE_ENABLED: 'false' }))
})

t.test('rejects two secrets of one name', async (t) => {
  const pepper = (name: string, byte: number) => `${name}:${Buffer.alloc(32, byte).toString('base64')}`
  t.throws(() => load('', { RPC_PEPPERS: [pepper('a', 1), pepper('a', 2)].join(',') }), {
    message: /^rpc\.peppers: got a value \(not shown\) from RPC_PEPPERS, takes .* each name once/
  })
  t.equal(load('', { RPC_PEPPERS: [pepper('b', 1), pepper('a', 2)].join(',') }).rpc.peppers.length, 2)
})

t.test('no message shows a URL with a password, which a key gets by mistake', async (t) => {
  for (const name of ['GATEWAY_PEERS', 'GATEWAY_WAIT']) {
    const message = messageOf(() => load('', { [name]: 'a, https://u:hunter2@h/' }))
    t.match(message, /: got a value \(not shown\) from GATEWAY_/, name)
    t.notMatch(message, /hunter2/, name)
  }
})

t.test('no message contains a secret', async (t) => {
  const env = { RPC_TOKEN: 'hunter 2', RPC_PEPPERS: 'a:hunter2', REDIS_URL: 'http://u:hunter2@h' }
  for (const [name, value] of Object.entries(env)) {
    t.throws(() => load('', { [name]: value }), { message: /got a value \(not shown\) from / })
    t.doesNotThrow(() =>
      t.notMatch(
        messageOf(() => load('', { [name]: value })),
        /hunter/
      )
    )
  }
})

t.test('production requires a strong credential', async (t) => {
  const random = 'q7Xc2LrV9ZkTt3WmE8nB5yHgUj4PsDfA'
  const problem = (token: string, previousToken = '', NODE_ENV = 'production') =>
    messageOf(() => requireStrongRpcToken({ token, previousToken }, { NODE_ENV }))
  t.equal(problem(random), '')
  t.match(problem(''), /rpc\.token: is missing/)
  t.match(problem('short'), /shorter than 32/)
  t.match(problem(`changeme${random}`), /sample/)
  t.match(problem('a'.repeat(40)), /sample/)
  t.match(problem(random, 'short'), /rpc\.previousToken/)
  t.equal(problem('short', '', 'development'), '')
  t.match(problem('', '', 'development'), /is missing/)
})

t.test('the credential of operators is optional, strong in production, and no credential of a service', async (t) => {
  const [token, adminToken] = ['q7Xc2LrV9ZkTt3WmE8nB5yHgUj4PsDfA', 'Zk8vRw3QyLp6XnTb2MdCf9HsGj5VaEuK']
  const problem = (admin: Record<string, string>, NODE_ENV = 'production') => {
    const rpc = { token, previousToken: 'the-one-before', adminToken: '', previousAdminToken: '', ...admin }
    return messageOf(() => requireStrongAdminToken(rpc, { NODE_ENV }))
  }
  t.equal(problem({}), '')
  t.equal(problem({ adminToken, previousAdminToken: `${adminToken}x` }), '')
  t.match(problem({ adminToken: 'short' }), /rpc\.adminToken: is shorter than 32 .*\(RPC_ADMIN_TOKEN\)/)
  t.match(problem({ previousAdminToken: `changeme${token}` }), /rpc\.previousAdminToken: is a sample/)
  for (const NODE_ENV of ['production', 'development']) {
    t.match(problem({ adminToken: token }, NODE_ENV), /rpc\.adminToken: is the credential of the services/)
    t.match(problem({ previousAdminToken: token }, NODE_ENV), /rpc\.previousAdminToken: is the credential of the serv/)
  }
  t.match(problem({ adminToken: 'the-one-before' }, 'development'), /is the credential of the services/)
  t.equal(problem({ adminToken: 'short' }, 'development'), '')
})
