/** Environment variables: misspelt names, names of other programs, and variables of the runtime. */

import { readFileSync } from 'node:fs'
import t from 'tap'
import { keyPaths } from '#common/config/catalogue.ts'
import { foreignVariables } from '#common/config/foreign-variables.ts'
import { environmentName } from '#common/config/load.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { load, messageOf } from './example.ts'

fieldCase(t, 26, 'a misspelt variable of any service stops the start and names the nearest key', async (t) => {
  const misspelt: [string, string][] = [
    ['GATEWAY_RATE_LIMIT_CREDENTIAL_MAX', 'GATEWAY_RATE_LIMIT_CREDENTIALS_MAX (gateway.rateLimit.credentialsMax)'],
    ['USER_SVC_POSTGRES_URI', 'USER_SVC_POSTGRES_URL (userSvc.postgres.url)'],
    ['SESSION_IDLETIMEOUT', 'SESSION_IDLE_TIMEOUT (session.idleTimeout)'],
    ['LOG_LEVELS', 'LOG_LEVEL (log.level)'],
    ['RPC_TOKENS', 'RPC_TOKEN (rpc.token)'],
    ['KAFKA_BROKER', 'KAFKA_BROKERS (kafka.brokers)'],
    ['STACK_DATADIR', 'STACK_DATA_DIR (stack.dataDir)'],
    ['SHUTDOWN_TIMEOUTS', 'SHUTDOWN_TIMEOUT (shutdown.timeout)'],
    ['GATEWAY_RATE_LIMIT', 'GATEWAY_RATE_LIMIT_MAX (gateway.rateLimit.max)'],
    ['GATWAY_OPS_PORT', 'GATEWAY_OPS_PORT (gateway.opsPort)'],
    ['USERSVC_OPS_PORT', 'USER_SVC_OPS_PORT (userSvc.opsPort)'],
    ['gateway_port', 'GATEWAY_PORT (gateway.port)'],
    ['CONFIG_FILES', 'CONFIG_FILE'],
    ['REDIS', 'REDIS_URL (redis.url)'],
    ['KAFKA', 'KAFKA_ENABLED (kafka.enabled)'],
    ['REDISURL', 'REDIS_URL (redis.url)'],
    ['LOGLEVEL', 'LOG_LEVEL (log.level)'],
    ['gateway.rateLimit.enabled', 'GATEWAY_RATE_LIMIT_ENABLED (gateway.rateLimit.enabled)'],
    ['user-svc.password.costs', 'USER_SVC_PASSWORD_COST (userSvc.password.cost)'],
    ['USERSVC_POSTGRES', 'USER_SVC_POSTGRES_URL (userSvc.postgres.url)'],
    ['userSvcBruteForceEnabled', 'USER_SVC_BRUTE_FORCE_ENABLED (userSvc.bruteForce.enabled)']
  ]
  for (const [name, nearest] of misspelt) {
    const message = messageOf(() => load('', { [name]: 'hunter2' }))
    t.match(message, new RegExp(`^${name}: unknown variable, the nearest is `), name)
    t.equal(message, `${name}: unknown variable, the nearest is ${nearest}`)
    t.notMatch(message, /hunter2/)
  }
  // The nearest key is one of the same section, even if others resemble the name more.
  for (const [name, prefix] of Object.entries({
    KAFKA_URL: 'KAFKA_',
    REDIS_PASSWORD: 'REDIS_',
    SESSION_SECRET: 'SESSION_'
  }))
    t.match(
      messageOf(() => load('', { [name]: 'x' })),
      new RegExp(`^${name}: unknown variable, the nearest is ${prefix}`)
    )
  t.doesNotThrow(() => load('', { GATEWAYS: '2' }), 'a variable of make run')
  for (const name of ['PATH', 'BLOG_LEVEL', 'MY_GATEWAY_PORT', 'REDISCLI_AUTH', 'LOGNAME', 'SESSION', 'LOG'])
    t.doesNotThrow(() => load('', { [name]: 'x' }), name)
})

t.test('ignores variables of other programs and service links', async (t) => {
  const links = {
    GATEWAY_SERVICE_HOST: '10.0.0.1',
    GATEWAY_SERVICE_PORT: '8080',
    GATEWAY_SERVICE_PORT_HTTP: '8080',
    GATEWAY_PORT: 'tcp://10.0.0.1:8080',
    GATEWAY_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
    GATEWAY_PORT_8080_TCP_PROTO: 'tcp',
    GATEWAY_PORT_8080_TCP_PORT: '8080',
    GATEWAY_PORT_8080_TCP_ADDR: '10.0.0.1',
    REDIS_MASTER_SERVICE_HOST: 'fd00::1',
    REDIS_MASTER_PORT: 'tcp://[fd00::1]:6379'
  }
  t.equal(load('gateway: {port: 1}', links).gateway.port, 1)
  const others = {
    KAFKA_HEAP_OPTS: '-Xmx1g',
    KAFKA_OPTS: '',
    SESSION_MANAGER: 'local/x',
    STACK_ROOT: '/s',
    LOG_DIR: '/l'
  }
  t.doesNotThrow(() => load('', { ...others, GATEWAY_INTERFACE: 'CGI/1.1' }))
  const misspelt = {
    GATEWAY_SERVICE_HOST: 'localhost',
    GATEWAY_SERVICE_PORT: '8080',
    GATEWAY_OPSPORT: 'tcp',
    REDIS_PORT: '6379',
    GATEWAY_PORT_8080_TCP: '8080'
  }
  for (const [name, value] of Object.entries(misspelt))
    t.throws(() => load('', { [name]: value }), { message: new RegExp(`^${name}: unknown variable`) }, name)
})

t.test('every key has a variable of its own, and the reference names the variables of other programs', async (t) => {
  const names = keyPaths.map(environmentName)
  t.same(
    names.filter((name, index) => names.indexOf(name) !== index),
    []
  )
  const reference = readFileSync(new URL('../../../docs/reference/configuration.md', import.meta.url), 'utf8')
  for (const name of Object.values(foreignVariables).flat()) {
    t.notOk(names.includes(name), `${name} is no key`)
    t.ok(reference.includes(name), `the reference has ${name}`)
  }
})

t.test('rejects variables of the runtime that weaken connections or print credentials', async (t) => {
  const dangers: [NodeJS.ProcessEnv, RegExp][] = [
    [{ NODE_TLS_REJECT_UNAUTHORIZED: '0' }, /^NODE_TLS_REJECT_UNAUTHORIZED: got "0"/],
    [{ NODE_ENV: 'prod' }, /^NODE_ENV: got "prod", the nearest is production$/],
    ...['Production', ' production', 'production ', 'poduction', 'pruduction', 'prd', 'PROD'].map(
      (name): [NodeJS.ProcessEnv, RegExp] => [{ NODE_ENV: name }, /^NODE_ENV: got .*, the nearest is production$/]
    ),
    [{ NODE_DEBUG: 'cluster,http2' }, /^NODE_DEBUG: got "cluster,http2", which prints requests/],
    ...['--insecure-http-parser', '--tls-min-v1.0', '--tls_max_v1.1', '--tls-keylog=/tmp/keys', '--trace-tls'].map(
      (option): [NodeJS.ProcessEnv, RegExp] => [
        { NODE_OPTIONS: `--inspect ${option}` },
        /^NODE_OPTIONS: got --(insecure|tls|trace)\S+, which weakens or shows every connection/
      ]
    )
  ]
  for (const [env, message] of dangers) t.throws(() => load('', env), { name: 'ConfigError', message })
  const harmless = {
    NODE_TLS_REJECT_UNAUTHORIZED: '1',
    NODE_ENV: 'staging',
    NODE_DEBUG: 'module',
    NODE_OPTIONS: '--inspect --tls-min-v1.3'
  }
  t.doesNotThrow(() => load('', harmless))
  for (const NODE_ENV of ['', 'production', 'development', 'test', 'preview', 'introduction-demo'])
    t.doesNotThrow(() => load('', { NODE_ENV }), NODE_ENV)
})
