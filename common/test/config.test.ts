/** The configuration: what is accepted, what overrides what, and what a mistake says. */

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { environmentName, loadConfig } from '../config.ts'
import { duration, flag, integer, list, port, secret, secretList, url } from '../config-keys.ts'
import { requireStrongRpcToken } from '../config-sections.ts'

const schema = {
  gateway: {
    port: port(8080, ''),
    max: integer(5, '', { min: 1, max: 10 }),
    rateLimit: { enabled: flag(true, '') },
    wait: duration('1m', '', { min: '1s', max: '1h' }),
    peers: list([], '', 'words', (word) => /^[a-z]+$/.test(word))
  },
  rpc: { token: secret(''), peppers: secretList('') },
  redis: { url: url(['redis'], '', '') }
}
const file = join(mkdtempSync(join(tmpdir(), 'config-')), 'config.yml')

function load(content: string, env: NodeJS.ProcessEnv = {}) {
  writeFileSync(file, content)
  return loadConfig(schema, { CONFIG_FILE: file, ...env })
}

t.test('an empty file means the defaults', async (t) => {
  for (const content of ['', '# nothing\n', 'gateway:\n', '{}']) {
    t.match(load(content), { gateway: { port: 8080, rateLimit: { enabled: true }, wait: 60_000, peers: [] } })
  }
  t.match(loadConfig(schema, { CONFIG_FILE: '' }), { gateway: { port: 8080 } })
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

t.test('a mistake is one line that names the key, what it got and what it takes', async (t) => {
  const mistakes: [string, NodeJS.ProcessEnv, RegExp][] = [
    ['gatway: {}', {}, /^gatway: unknown section in .*config\.yml, takes gateway, userSvc/],
    ['gateway: {prot: 1}', {}, /^gateway\.prot: unknown key in .*, takes port, max/],
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

t.test('sections of other services are left to them', async (t) => {
  t.doesNotThrow(() => load('userSvc: {whatever: 1}'))
})

t.test('a secret is never part of a message', async (t) => {
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

t.test('production wants a real credential', async (t) => {
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

function messageOf(action: () => unknown): string {
  try {
    action()
    return ''
  } catch (error) {
    return (error as Error).message
  }
}
