/** The section `mail`: the accepted values, and messages that name the key and contain no part of an address. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { loadConfig } from '#common/config/load.ts'
import { mail, mailOptions } from '#common/config/mail-section.ts'

const key = `a:${randomBytes(32).toString('base64')}`
const complete = {
  MAIL_URL: 'smtps://auth:pass%40word@mail.example.org',
  MAIL_FROM: 'Example <auth@example.org>',
  MAIL_KEYS: key,
  MAIL_LINKS_VERIFY: 'https://app.example.org/verify#token={token}',
  MAIL_LINKS_RESET: 'https://app.example.org/#/reset?token={token}'
}

function options(variables: NodeJS.ProcessEnv) {
  const env = { CONFIG_FILE: '/dev/null', ...variables }
  return mailOptions(loadConfig({ mail }, env).mail, env)
}

t.test('is undefined without a URL', async (t) => {
  t.equal(options({}), undefined)
  t.equal(options({ ...complete, MAIL_URL: '' }), undefined)
})

t.test('the server, its default ports and its credential', async (t) => {
  const target = (url: string, more = {}) => options({ ...complete, MAIL_URL: url, ...more })?.target
  t.same(target(complete.MAIL_URL), {
    host: 'mail.example.org',
    port: 465,
    implicitTls: true,
    requireTls: true,
    credential: { user: 'auth', password: 'pass@word' }
  })
  t.same(target('smtp://mail'), { host: 'mail', port: 587, implicitTls: false, requireTls: true })
  t.same(target('SMTP://[::1]:25/', { MAIL_REQUIRE_TLS: 'false' }), {
    host: '::1',
    port: 25,
    implicitTls: false,
    requireTls: false
  })
  t.match(target('smtp://u:p@127.0.0.1:25', { MAIL_REQUIRE_TLS: 'false' }), { requireTls: false })
})

t.test('a directory', async (t) => {
  for (const [url, directory] of [
    ['file:.data/mail', '.data/mail'],
    ['file:/var/mail', '/var/mail'],
    ['file:///var/my mail', '/var/my mail']
  ] as const) {
    t.same(options({ ...complete, MAIL_URL: url })?.target, { directory }, url)
  }
})

t.test('the sender', async (t) => {
  t.same(options(complete)?.from, { name: 'Example', address: 'auth@example.org' })
  t.same(options({ ...complete, MAIL_FROM: 'a@b.org' })?.from, { name: '', address: 'a@b.org' })
  t.same(options({ ...complete, MAIL_FROM: 'Zoë & Co. <a@b.org>' })?.from, { name: 'Zoë & Co.', address: 'a@b.org' })
})

const impossible: (readonly [variable: string, value: string, message: RegExp])[] = [
  ...['smtp://S3cret@mail', 'smtp://u:S3cret', 'smtp://u:S3c@ret@mail', 'smtp://S3cret:p@mail/path', 'S3cret'].map(
    (value) => ['MAIL_URL', value, /^mail\.url: got a value \(not shown\) from MAIL_URL, takes file:/] as const
  ),
  ...['smtp://u:S3cret@mail?tls=no', 'smtp://u:S3cret@a,b', 'http://u:S3cret@mail', 'file:', 'file://host/S3cret'].map(
    (value) => ['MAIL_URL', value, /^mail\.url: got a value \(not shown\) from MAIL_URL, takes file:/] as const
  ),
  ...['nobody', 'A <a@b', 'a@b.org, c@d.org', 'A"B <a@b.org>', 'A\tB <a@b.org>', 'a@bücher.org', '<a@b.org>'].map(
    (value) => ['MAIL_FROM', value, /^mail\.from: got .* from MAIL_FROM, takes an address such as/] as const
  ),
  ...['https://a.org/{token}', 'https://a.org/?token={token}', 'https://a.org/#token', '/reset#{token}'].map(
    (value) => ['MAIL_LINKS_RESET', value, /^mail\.links\.reset: got .*, takes a URL .* behind a #/] as const
  ),
  ...['https://a.org/#{token}{token}', 'https://u:p@a.org/#{token}', 'ftp://a.org/#{token}', 'https://#{token}'].map(
    (value) => ['MAIL_LINKS_VERIFY', value, /^mail\.links\.verify: got .*, takes a URL/] as const
  ),
  ...['https://a.org/"#{token}', 'https://a.org/ #{token}', 'https://a.org/#{token}<'].map(
    (value) => ['MAIL_LINKS_VERIFY', value, /^mail\.links\.verify: got .*, takes a URL/] as const
  ),
  ['MAIL_KEYS', 'a:S3cret', /^mail\.keys: got a value \(not shown\) from MAIL_KEYS, takes .*at least 32 bytes/],
  ['MAIL_KEYS', `${key},${key}`, /^mail\.keys: got a value \(not shown\) .*each name once/],
  ['MAIL_REQUIRE_TLS', 'no', /^mail\.requireTls: got "no" from MAIL_REQUIRE_TLS, takes true or false/],
  ['MAIL_HOST', 'x', /^MAIL_HOST: unknown variable, the nearest is MAIL_/]
]

t.test('rejects impossible values', async (t) => {
  for (const [variable, value, message] of impossible) {
    const attempt = () => options({ ...complete, [variable]: value })
    t.throws(attempt, { name: 'ConfigError', message }, `${variable}=${value}`)
    if (variable !== 'MAIL_URL') continue
    t.throws(attempt, { message: /^((?!S3c).)*$/s }, 'the message has no part of the URL')
  }
})

t.test('requires the other keys beside a URL', async (t) => {
  for (const [variable, path] of [
    ['MAIL_FROM', 'mail.from'],
    ['MAIL_KEYS', 'mail.keys'],
    ['MAIL_LINKS_VERIFY', 'mail.links.verify'],
    ['MAIL_LINKS_RESET', 'mail.links.reset']
  ] as const) {
    const message = new RegExp(`^${path}: is missing beside mail.url; takes .* \\(${variable}\\)$`)
    t.throws(() => options({ ...complete, [variable]: '' }), { name: 'ConfigError', message })
  }
})

t.test('rejects a password without verified TLS', async (t) => {
  const message = /^mail\.requireTls: got false beside a password in mail\.url, takes true/
  for (const MAIL_URL of ['smtp://u:p@mail', 'smtps://u:p@10.0.0.1']) {
    t.throws(() => options({ ...complete, MAIL_URL, MAIL_REQUIRE_TLS: 'false' }), { name: 'ConfigError', message })
  }
})

t.test('production rejects a directory and pages without https', async (t) => {
  const production = { ...complete, NODE_ENV: 'production' }
  t.ok(options(production))
  t.throws(() => options({ ...production, MAIL_URL: 'file:/x' }), {
    message: /^mail\.url: got a directory, production/
  })
  const page = 'http://app.example.org/#{token}'
  t.throws(() => options({ ...production, MAIL_LINKS_RESET: page }), {
    message: /^mail\.links\.reset: got "http:.*", production takes a URL with https/
  })
  t.ok(options({ ...production, MAIL_LINKS_RESET: 'http://127.0.0.1:8080/#{token}' }))
})

t.test('ignores the variables of login shells and of cron', async (t) => {
  t.equal(options({ MAIL: '/var/mail/ada', MAILCHECK: '60', MAILTO: 'ada', MAILFROM: 'cron' }), undefined)
})
