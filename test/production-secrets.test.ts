/** Production refuses short, sample and repeated secrets in every sensitive key of the schema. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { ConfigError, environmentName, loadConfig } from '#common/config/load.ts'
import { requireProduction } from '#common/config/production.ts'
import { load as loadGateway } from '../gateway/config.ts'
import { load as loadSessionSvc } from '../session-svc/config.ts'
import { schema } from '../stack/config.ts'
import { requireStartable } from '../stack/config-checks.ts'
import { load as loadUserSvc } from '../user-svc/config.ts'
import { type SensitiveKey, sensitiveKeys } from './support/sensitive-keys.ts'

const keys = sensitiveKeys(schema)
const random = () => randomBytes(32).toString('base64')

/** The lines of the refusal of a configuration with one value for each of the keys. */
function problems(values: [SensitiveKey, secret: string][]): string[] {
  const variables = values.map(([{ path, textWith }, secret]) => [environmentName(path), textWith(secret)])
  return problemsOf(Object.fromEntries(variables))
}

function problemsOf(variables: NodeJS.ProcessEnv): string[] {
  const environment = { NODE_ENV: 'production', CONFIG_FILE: '/dev/null', ...variables }
  return refusal(() => requireProduction(loadConfig(schema, environment), { schema, role: 'gateway', environment }))
}

function refusal(action: () => unknown): string[] {
  try {
    action()
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message.split('\n')
  }
}

/** The lines with which `make run` refuses a configuration. */
function problemsOfStack(variables: NodeJS.ProcessEnv): string[] {
  const environment = { NODE_ENV: 'production', CONFIG_FILE: '/dev/null', ...variables }
  return refusal(() => requireStartable(loadConfig(schema, environment), environment))
}

const isRefused = (lines: string[], path: string, problem: RegExp) =>
  lines.some((line) => line.startsWith(`${path}: `) && problem.test(line))

t.test('a secret of two keys is refused, for each pair of the schema', async (t) => {
  t.ok(keys.length > 15)
  for (const [index, second] of keys.entries()) {
    for (const first of keys.slice(0, index)) {
      const secret = random()
      const lines = problems([
        [first, secret],
        [second, secret]
      ])
      const repeated = isRefused(lines, second.path, new RegExp(`: has the secret of ${first.path},`))
      // One login of PostgreSQL may migrate and serve; another user needs a password of its own.
      const isOneLogin = second.path === 'userSvc.postgres.migrationUrl' && first.path === 'userSvc.postgres.url'
      if (repeated === isOneLogin) t.fail(`${first.path} and ${second.path}: ${lines}`)
      if (lines.join().includes(secret)) t.fail(`the refusal shows the secret of ${second.path}`)
    }
  }
})

t.test('the owner of the tables and the service have passwords of their own, in both forms of a URL', async (t) => {
  const password = `+ ${random()}`
  const encoded = encodeURIComponent(password).replaceAll('%2B', '+')
  const forms = {
    'before the host': (user: string) => `postgres://${user}:${encoded}@127.0.0.1:5432/auth`,
    parameters: (user: string) => `postgres://127.0.0.1:5432/auth?user=${user}&password=${encoded}`
  }
  const problemsWith = (url: string, migrationUrl: string, check = problemsOf) =>
    check({
      USER_SVC_POSTGRES_URL: url,
      USER_SVC_POSTGRES_MIGRATION_URL: migrationUrl,
      REDIS_URL: `redis://:${randomBytes(32).toString('hex')}@127.0.0.1`
    })
  const repeated = [/^userSvc\.postgres\.migrationUrl: has the secret of userSvc\.postgres\.url/]
  for (const [service, urlOfService] of Object.entries(forms)) {
    for (const [owner, urlOfOwner] of Object.entries(forms)) {
      const urls = `${service}, ${owner}`
      for (const check of [problemsOf, problemsOfStack])
        t.match(problemsWith(urlOfService('auth_service'), urlOfOwner('auth_owner'), check), repeated, urls)
      t.same(problemsWith(urlOfService('auth_owner'), urlOfOwner('auth_owner')), [], `one login: ${urls}`)
    }
  }
})

t.test('make run refuses a key of user-svc that is the password of the owner of the tables', async (t) => {
  const secret = random()
  const lines = problemsOfStack({
    USER_SVC_POSTGRES_MIGRATION_URL: `postgres://auth_owner:${encodeURIComponent(secret)}@127.0.0.1/auth`,
    USER_SVC_EVENT_KEYS: `a:${secret}`
  })
  t.match(lines, [/: has the secret of userSvc\.(eventKeys|postgres\.migrationUrl),/])
})

t.test('a sample is refused in each key, and so is a short token or password', async (t) => {
  for (const key of keys) {
    const { path } = key
    const sample = Buffer.alloc(32, 7).toString('base64')
    t.ok(isRefused(problems([[key, sample]]), path, /sample|is no random key/), `sample in ${path}`)
    if (key.key.secrets?.kind === 'key') continue
    t.ok(isRefused(problems([[key, 'q7Xc2LrV9Z']]), path, /shorter than 32|fewer than 12/), `short value in ${path}`)
  }
})

t.test('the services refuse a repeated credential, and accept the entry of the service itself', async (t) => {
  const saved = { ...process.env }
  t.teardown(() => {
    process.env = saved
  })
  const token = () => randomBytes(32).toString('hex')
  const load = (service: () => unknown, variables: NodeJS.ProcessEnv) => {
    process.env = { CONFIG_FILE: '/dev/null', NODE_ENV: 'production', ...variables }
    return refusal(service)
  }
  const [own, redis] = [token(), token()]
  const postgres = { USER_SVC_POSTGRES_URL: `postgres://auth_service:${token()}@127.0.0.1/auth` }
  const gateway = { RPC_OWN_TOKEN: own, REDIS_URL: `redis://gateway:${redis}@127.0.0.1` }
  const userSvc = { ...postgres, RPC_OWN_TOKEN: own, RPC_CALLERS: `gateway:${token()}` }
  t.same(load(loadGateway, gateway), [])
  t.same(load(loadUserSvc, userSvc), [])
  t.match(load(loadGateway, { ...gateway, RPC_OWN_TOKEN: redis }), [/^redis\.url: has the secret of rpc\.ownToken/])
  const kafka = { KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_PASSWORD: own }
  t.match(load(loadGateway, { ...gateway, ...kafka }), [/^kafka\.sasl\.password: has the secret of rpc\.ownToken/])
  const ofGateway = load(loadUserSvc, { ...userSvc, RPC_CALLERS: `gateway:${own}` })
  t.match(ofGateway, [/^rpc\.(ownToken|callers): has the secret of rpc\.(ownToken|callers)/])
  t.match(load(loadUserSvc, { ...userSvc, RPC_ADMIN_TOKEN: own }), [
    /^rpc\.ownToken: has the secret of rpc\.adminToken/
  ])
  const pepper = random()
  const asPepper = { RPC_CALLERS: `gateway:${pepper}`, USER_SVC_PASSWORD_PEPPERS: `a:${pepper}` }
  t.match(load(loadUserSvc, { ...userSvc, ...asPepper }), [
    /^rpc\.callers: has the secret of userSvc\.password\.peppers/
  ])
  // One list of callers for all services.
  const list = { RPC_CALLERS: `gateway:${token()},user-svc:${own}` }
  t.same(load(loadUserSvc, { ...userSvc, ...list }), [])
  t.same(load(loadSessionSvc, { ...list, RPC_OWN_TOKEN: own, REDIS_URL: gateway.REDIS_URL }), [])
})
