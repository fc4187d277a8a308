/** The settings of emails under `make run`, and the messages of `make mail`. */

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '#common/config/load.ts'
import { mailOptions } from '#common/config/mail-section.ts'
import { schema } from '../config.ts'
import { requireStartable } from '../config-checks.ts'
import { mailUrl, mailVariables, requireMail } from '../mail-settings.ts'

const root = join(import.meta.dirname, '../..')
const playground = 'http://localhost:8080/playground'
const load = (variables: NodeJS.ProcessEnv) => loadConfig(schema, { CONFIG_FILE: '/dev/null', ...variables })
const newDataDir = () => mkdtempSync(join(tmpdir(), 'mail data #%-'))

t.test('writes files into the data directory, with a generated key and links to the playground', async (t) => {
  const dataDir = newDataDir()
  const keyFile = join(dataDir, 'mail-key')
  const config = load({ STACK_DATA_DIR: dataDir })
  requireMail(config)
  const variables = mailVariables(config, keyFile, playground)
  t.same(mailVariables(config, keyFile, playground), variables, 'the key is kept')
  t.equal(statSync(keyFile).mode & 0o777, 0o600)
  t.match(mailOptions(load(variables).mail), {
    target: { directory: join(dataDir, 'mail') },
    links: { verify: `${playground}#verify={token}`, reset: `${playground}#reset={token}` }
  })
  const key = Buffer.from(readFileSync(keyFile, 'utf8').trim(), 'base64url')
  t.equal(variables.MAIL_KEYS, `a:${key.toString('base64')}`)
  const [, documented = ''] =
    /`(MAIL_KEYS="b:.+?")`/.exec(readFileSync(join(root, 'docs/operate/rotate.md'), 'utf8')) ?? []
  const script = `${documented.replace('.data/mail-key', '"$1"')}; printf %s "$MAIL_KEYS"`
  const { stdout } = spawnSync('sh', ['-c', script, 'sh', keyFile], { encoding: 'utf8' })
  t.equal(stdout.split(',')[1], variables.MAIL_KEYS, 'rotate.md converts the generated key')
  t.equal(load({ MAIL_KEYS: stdout }).mail.keys.length, 2)
})

t.test('keeps what is configured', async (t) => {
  const configured = {
    MAIL_URL: 'smtps://auth:secret@mail.example.org',
    MAIL_FROM: 'auth@example.org',
    MAIL_LINKS_VERIFY: 'https://app.example.org/#{token}',
    MAIL_LINKS_RESET: 'https://app.example.org/reset#{token}',
    MAIL_KEYS: `x:${Buffer.alloc(32, 1).toString('base64')},y:${Buffer.alloc(32, 2).toString('base64')}`
  }
  const config = load(configured)
  requireMail(config)
  t.same(mailVariables(config, '/nowhere', playground), configured)
})

t.test('requires the sender of a configured server, before anything starts', async (t) => {
  const message = /^mail\.from: is missing beside mail\.url; takes .* \(MAIL_FROM\)$/
  t.throws(() => requireMail(load({ MAIL_URL: 'smtp://mail.example.org' })), { name: 'ConfigError', message })
  const weak = { MAIL_URL: 'smtp://u:p@mail.example.org', MAIL_FROM: 'a@b.org', MAIL_REQUIRE_TLS: 'false' }
  t.throws(() => requireMail(load(weak)), { name: 'ConfigError', message: /^mail\.requireTls/ })
})

t.test('production sends no email unless configured, and has no links to the playground', async (t) => {
  const production = { NODE_ENV: 'production' }
  const server = { MAIL_URL: 'smtps://u:p@mail.example.org', MAIL_FROM: 'a@b.org' }
  t.throws(() => requireMail(load(server), production), { name: 'ConfigError', message: /^mail\.links\.verify/ })
  t.equal(mailUrl(load({}), { NODE_ENV: 'production' }), '')
})

t.test('concealed registrations need emails and verified addresses, before anything starts', async (t) => {
  const message = 'userSvc.registration.concealTaken: got true, needs mail.url and userSvc.requireVerifiedEmail: true'
  const concealed = { USER_SVC_REGISTRATION_CONCEAL_TAKEN: 'true' }
  const verified = { ...concealed, USER_SVC_REQUIRE_VERIFIED_EMAIL: 'true' }
  t.throws(() => requireStartable(load(concealed), {}), { name: 'ConfigError', message })
  t.doesNotThrow(() => requireStartable(load(verified), {}), 'make run writes emails as files')
  t.throws(() => requireStartable(load(verified), { NODE_ENV: 'production' }), { name: 'ConfigError', message })
})

t.test('make mail shows the newest email, its link first, or the reason why there is none', async (t) => {
  const dataDir = newDataDir()
  const show = (variables: NodeJS.ProcessEnv = {}) => {
    const env = { ...process.env, CONFIG_FILE: '/dev/null', STACK_DATA_DIR: dataDir, ...variables }
    const { status, stdout, stderr } = spawnSync(process.execPath, ['stack/mail.ts'], {
      cwd: root,
      env,
      encoding: 'utf8'
    })
    return { status, stdout, stderr }
  }
  const none = `no email in ${join(dataDir, 'mail')} yet; a registration while \`make run\` runs sends the first\n`
  t.same(show(), { status: 1, stdout: '', stderr: none })
  mkdirSync(join(dataDir, 'mail'))
  t.same(show(), { status: 1, stdout: '', stderr: none })
  const email = 'To: ada@example.org\r\nSubject: Hello\r\n\r\nOpen\r\n\r\nhttps://app.example.org/#token\r\n'
  writeFileSync(join(dataDir, 'mail', 'a.eml'), email)
  const { status, stdout } = show()
  t.equal(status, 0)
  t.match(stdout, /^https:\/\/app\.example\.org\/#token\n\nTo: ada@example\.org\nSubject: Hello\nDate: .*\n\nOpen\n/)
  const server = show({ MAIL_URL: 'smtp://u:S3cret@mail.example.org' })
  t.match(server, { status: 1, stderr: /^mail\.url starts with smtp:; make mail shows the emails that/ })
  t.notMatch(server.stderr, /S3cret/)
  t.match(show({ NODE_ENV: 'production' }).stderr, /^mail\.url is not set; make mail shows/)
  t.match(show({ MAIL_TO: 'x' }), { status: 1, stderr: /^MAIL_TO: unknown variable/ })
})
