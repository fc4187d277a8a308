/** Starts without a dependency, with an invalid configuration, and with a port in use. */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { until } from '#common/testing/until.ts'
import { createProduct, newAddress, password, startWithinMs } from './support/product.ts'
import { startTcpProxy } from './support/tcp-proxy.ts'

t.test(
  'services that start before their dependencies report the reason in /readyz, and become ready later',
  async (t) => {
    const proxyPort = await freePort()
    const redis = new URL(process.env.TEST_REDIS_URL as string)
    const target = { host: redis.hostname, port: Number(redis.port) }
    redis.port = String(proxyPort)
    const hosts = { GATEWAY_HOST: '0.0.0.0', USER_SVC_HOST: '0.0.0.0', SESSION_SVC_HOST: '0.0.0.0' }
    const product = await createProduct(t, { REDIS_URL: redis.href, ...hosts })
    product.start('gateway')
    await until('the gateway is alive', () => product.isAlive('gateway'), startWithinMs)
    const verbose = async (name: 'gateway' | 'session-svc') => (await product.ops(name, '/readyz?verbose')).text()
    t.equal((await product.ops('gateway', '/readyz')).status, 503)
    t.match(await verbose('gateway'), /\[-\] session-svc: /)
    const early = await product.call('POST', '/auth', { json: { email: newAddress(), password } })
    t.equal(early.status, 503)
    t.ok(early.headers.get('retry-after'))

    product.start('session-svc', 'user-svc')
    await until('session-svc is alive', () => product.isAlive('session-svc'), startWithinMs)
    await until('session-svc names Redis', async () =>
      /\[-\] redis: cannot be reached/.test(await verbose('session-svc'))
    )
    t.notOk(await product.isReady('gateway'))

    const proxy = await startTcpProxy(proxyPort, target)
    t.teardown(proxy.close)
    for (const name of ['session-svc', 'user-svc', 'gateway'] as const) {
      await until(`${name} is ready`, () => product.isReady(name))
      await until(`${name} warns of its host`, () => product.output(name).includes('"event":"not_in_production"'))
    }
    t.equal((await product.call('POST', '/reg', { json: { email: newAddress(), password } })).status, 201)
  }
)

t.test('an invalid configuration is one line that names the key, and exit code 1', async (t) => {
  const file = join(mkdtempSync(join(tmpdir(), 'config-')), 'config.yml')
  const run = (content: string, env: Record<string, string> = {}) => {
    writeFileSync(file, content)
    const base = {
      PATH: process.env.PATH ?? '',
      CONFIG_FILE: file,
      RPC_TOKEN: 'a-token',
      REDIS_URL: 'redis://127.0.0.1:1'
    }
    return spawnSync(process.execPath, ['gateway/server.ts'], { env: { ...base, ...env }, encoding: 'utf8' })
  }
  const cases: [string, Record<string, string>, RegExp][] = [
    ['gateway:\n  port: 99999\n', {}, /^gateway: gateway\.port: got 99999, takes a port from 0 to 65535/],
    ['gateway:\n  prot: 8080\n', {}, /^gateway: gateway\.prot: unknown key/],
    ['gatway:\n  port: 8080\n', {}, /^gateway: gatway: unknown section/],
    [
      '',
      { GATEWAY_RATE_LIMIT_ENABLED: 'yes' },
      /gateway\.rateLimit\.enabled: got "yes" from GATEWAY_RATE_LIMIT_ENABLED/
    ],
    ['', { RPC_TOKEN: '' }, /rpc\.token: is missing/],
    ['', { NODE_ENV: 'production' }, /rpc\.token: is shorter than 32 characters/],
    ['', { REDIS_URL: 'http://user:hunter2@host' }, /redis\.url: got a value \(not shown\)/],
    ['gateway: {trustedProxies: ["0.0.0.0/0"]}', {}, /gateway\.trustedProxies/],
    ['a: b: c', {}, /config\.yml: /]
  ]
  for (const [content, env, message] of cases) {
    const { status, stderr, stdout } = run(content, env)
    t.equal(status, 1)
    t.match(stderr, message)
    t.equal(stderr.trim().split('\n').length, 1, stderr)
    t.equal(stdout, '')
    t.notMatch(stderr, /hunter2/)
  }
})

t.test('a port in use is one line', async (t) => {
  const product = await createProduct(t)
  product.start('session-svc')
  await until('session-svc is ready', () => product.isReady('session-svc'), startWithinMs)
  const env = { ...product.env, SESSION_SVC_OPS_PORT: String(await freePort()) }
  const { status, stderr } = spawnSync(process.execPath, ['session-svc/server.ts'], { env, encoding: 'utf8' })
  t.equal(status, 1)
  t.match(stderr, new RegExp(`^session-svc: cannot listen on port ${product.ports.sessions}: EADDRINUSE\n$`))
})

t.test('an unknown host name is one line that names it', async (t) => {
  const product = await createProduct(t)
  const env = { ...product.env, SESSION_SVC_OPS_HOST: 'host.invalid' }
  const { status, stderr } = spawnSync(process.execPath, ['session-svc/server.ts'], { env, encoding: 'utf8' })
  t.equal(status, 1)
  t.match(stderr, /^session-svc: cannot listen at the host "host\.invalid": E\w+\n$/)
})
