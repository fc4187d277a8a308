/** The playground: its files, its policy, and the limits of the route that shows emails. */

import t from 'tap'
import { loadConfig } from '#common/config/load.ts'
import { schema, shownMailDirectory } from '../config.ts'
import { buildGateway, requireForm } from './gateway.ts'

const url = '/playground/emails'
const headers = { host: 'localhost:8080' }

function emailDirectory(t: { testdir: (files: Record<string, string>) => string }): string {
  const content =
    'From: auth@example.org\r\nTo: ada@example.org\r\nSubject: Verify\r\n\r\nhttp://localhost/#verify=x\r\n'
  return t.testdir({ 'one.eml': content })
}

t.test('serves the page and its files from memory, for a strict policy', async (t) => {
  const { app } = await buildGateway(t)
  const page = await app.inject('/playground')
  t.equal(page.statusCode, 200)
  t.match(page.headers, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': /^default-src 'self';/,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store'
  })
  const files = [...page.body.matchAll(/(?:src|href)="(\/playground\/[^"]+)"/g)].map(([, file]) => String(file))
  t.ok(files.length >= 3)
  const { body: script } = await app.inject('/playground/playground.js')
  const modules = [...script.matchAll(/from '\.\/(\w+\.js)'/g)].map(([, file]) => `/playground/${file}`)
  for (const file of [...files, ...modules]) {
    const answer = await app.inject(file)
    t.equal(answer.statusCode, 200, file)
    const type = file.endsWith('.js') ? /^text\/javascript/ : file.endsWith('.css') ? /^text\/css/ : /^image\/svg/
    t.match(answer.headers['content-type'], type)
  }
  t.notMatch(page.body, /<script(?![^>]* src=)|<style| style=| on[a-z]+="/, 'nothing inline')
  const documented = (await app.inject('/openapi.json')).json()
  t.same(
    Object.keys(documented.paths).filter((path) => path.startsWith('/playground')),
    []
  )
})

t.test('is off with gateway.docs', async (t) => {
  const mailDirectory = emailDirectory(t)
  const { app } = await buildGateway(t, { options: { docs: false }, parts: { mailDirectory } })
  for (const path of ['/playground', '/playground/playground.js', url]) {
    requireForm(t, await app.inject({ url: path, headers }), 404, path)
  }
})

t.test('shows the emails to its own page and to programs of this machine only', async (t) => {
  const { app } = await buildGateway(t, { parts: { mailDirectory: emailDirectory(t) } })
  const accepted = [
    headers,
    { host: '127.0.0.1:8080' },
    { host: '[::1]:8080' },
    { host: 'localhost' },
    { ...headers, 'sec-fetch-site': 'same-origin' }
  ]
  for (const accepts of accepted) {
    const { emails } = requireForm(t, await app.inject({ url, headers: accepts }), 200, JSON.stringify(accepts))
    t.match(emails, [
      { file: 'one.eml', to: 'ada@example.org', subject: 'Verify', links: ['http://localhost/#verify=x'] }
    ])
  }
  const rejected = [
    { host: 'attacker.example' },
    { host: 'localhost.attacker.example' },
    { host: '127.0.0.1.attacker.example' },
    { host: '192.168.1.5:8080' },
    { ...headers, 'sec-fetch-site': 'cross-site' },
    { ...headers, 'sec-fetch-site': 'same-site' },
    { ...headers, 'x-forwarded-for': '203.0.113.9' },
    { ...headers, forwarded: 'for=203.0.113.9' },
    { ...headers, via: '1.1 proxy' },
    { ...headers, 'x-forwarded-proto': 'https' },
    { ...headers, 'cf-connecting-ip': '203.0.113.9' },
    { ...headers, origin: 'https://attacker.example' },
    { ...headers, origin: 'null' }
  ]
  for (const rejects of rejected) {
    requireForm(t, await app.inject({ url, headers: rejects }), 404, JSON.stringify(rejects))
  }
})

t.test('shows no emails without a directory', async (t) => {
  const { app } = await buildGateway(t)
  requireForm(t, await app.inject({ url, headers }), 404)
})

t.test('the directory is known only in development, on a loopback address, without proxies', async (t) => {
  const directoryOf = (variables: Record<string, string>) => {
    const environment = { CONFIG_FILE: '/dev/null', MAIL_URL: 'file:.data/mail', ...variables }
    return shownMailDirectory(loadConfig(schema, environment), environment)
  }
  t.equal(directoryOf({}), '.data/mail')
  t.equal(directoryOf({ GATEWAY_HOST: 'localhost' }), '.data/mail')
  t.equal(directoryOf({ GATEWAY_HOST: '::1' }), '.data/mail')
  for (const variables of [
    { NODE_ENV: 'production' },
    { NODE_ENV: 'production', GATEWAY_DOCS: 'true' },
    { GATEWAY_HOST: '0.0.0.0' },
    { GATEWAY_HOST: '::' },
    { GATEWAY_HOST: '192.168.1.5' },
    { GATEWAY_HOST: 'localhost.example' },
    { GATEWAY_TRUSTED_PROXIES: '127.0.0.1/32' },
    { MAIL_URL: 'smtps://mail.example.org' },
    { MAIL_URL: '' }
  ] as Record<string, string>[]) {
    t.equal(directoryOf(variables), undefined, JSON.stringify(variables))
  }
})
