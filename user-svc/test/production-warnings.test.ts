/** The preset for production of docs/security/passwords.md, and the warnings of a start without it. */

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { createPasswordRules } from '../passwords/password-rules.ts'
import { productionWarnings } from '../production-warnings.ts'
import { loadWith } from './load-with.ts'

const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'preset-'))
t.teardown(() => rmSync(folder, { recursive: true }))
const hex = () => randomBytes(32).toString('hex')
const key = () => `a:${randomBytes(32).toString('base64')}`
const required = {
  NODE_ENV: 'production',
  RPC_OWN_TOKEN: hex(),
  RPC_CALLERS: `gateway:${hex()}`,
  USER_SVC_POSTGRES_URL: `postgres://auth_service:${hex()}@127.0.0.1:1/auth`
}

t.test('the preset of passwords.md is accepted, and requires 15 characters', async (t) => {
  const page = readFileSync(join(root, 'docs/security/passwords.md'), 'utf8')
  const [, sample = ''] = /^## Production$[^#]*^```yaml\n(.*?)^```$/ms.exec(page) ?? []
  for (const name of ['00000.txt', 'FFFFF.txt']) writeFileSync(join(folder, name), `${'0'.repeat(35)}:1\n`)
  const file = join(folder, 'config.yml')
  writeFileSync(file, sample.replace(/directory: .+/, `directory: ${folder}`))
  const config = loadWith({ ...required, CONFIG_FILE: file })
  t.equal(config.userSvc.password.breachList.directory, folder)
  const { newPassword } = createPasswordRules({ ...config.userSvc.password, breachList: undefined })
  const codeOf = async (password: string) => (await newPassword('password', password, 'ada@example.org')).code
  t.equal(await codeOf('vex jumbo cart'), 'too_short', '14 characters')
  t.equal(await codeOf('vex jumbo carts'), undefined, '15 characters')
  t.equal(await codeOf('example corp 123'), 'service_name')
})

t.test('a start without it warns, once for each key', async (t) => {
  const environment = {
    PATH: process.env.PATH,
    CONFIG_FILE: '/dev/null',
    ...required,
    KAFKA_BROKERS: '127.0.0.1:1',
    LOG_SPOOL_DIRECTORY: folder,
    USER_SVC_PORT: String(await freePort()),
    USER_SVC_OPS_PORT: String(await freePort())
  }
  const child = spawn(process.execPath, ['user-svc/server.ts'], {
    cwd: root,
    env: environment,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => child.kill('SIGKILL'))
  const expected = ['short_passwords_accepted', 'device_keys_missing', 'event_keys_missing']
  const found: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    const event = /"event":"(\w+)"/.exec(line)?.[1] ?? ''
    if (expected.includes(event)) found.push(event)
    if (found.length === expected.length) break
  }
  t.same(found, expected)

  const eventsWith = (variables: NodeJS.ProcessEnv) =>
    productionWarnings(loadWith({ ...environment, ...variables }), { NODE_ENV: 'production', ...variables }).map(
      ({ event }) => event
    )
  const complete = {
    USER_SVC_PASSWORD_MIN_LENGTH: '15',
    USER_SVC_BRUTE_FORCE_DEVICE_KEYS: key(),
    USER_SVC_EVENT_KEYS: key()
  }
  t.same(eventsWith(complete), [])
  const gateOff = { USER_SVC_BRUTE_FORCE_ENABLED: 'false', USER_SVC_BRUTE_FORCE_DEVICE_KEYS: '' }
  t.same(eventsWith({ ...complete, ...gateOff }), ['brute_force_off'])
  t.same(eventsWith({ ...complete, KAFKA_ENABLED: 'false', USER_SVC_EVENT_KEYS: '' }), [], 'no events are published')
  t.same(eventsWith({ NODE_ENV: 'development' }), [])
})
