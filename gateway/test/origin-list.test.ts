/** The configuration of origins: the forms of an entry, and a message that names a wrong one. */

import t from 'tap'
import { ConfigError, loadConfig } from '#common/config/load.ts'
import { schema } from '../config.ts'

t.test('a typo in the list stops the start and names the entry', async (t) => {
  const read = (origins: string) =>
    loadConfig(schema, { CONFIG_FILE: '/dev/null', GATEWAY_ORIGINS: origins }).gateway.origins
  t.same(read('https://app.example.org, http://localhost:3000,https://xn--bcher-kva.example,http://[::1]:3000'), [
    'https://app.example.org',
    'http://localhost:3000',
    'https://xn--bcher-kva.example',
    'http://[::1]:3000'
  ])
  t.same(read(''), [])
  const typos = [
    'app.example.org',
    'https://app.example.org/',
    'https://app.example.org/path',
    'https://app.example.org?a',
    'https://app.example.org#a',
    'https://App.example.org',
    'HTTPS://app.example.org',
    'https://app.example.org:443',
    'http://app.example.org:80',
    'https://app.example.org:99999',
    'https://*.example.org',
    'https://b\u00fccher.example',
    'https:/app.example.org',
    'https//app.example.org',
    'htps://app.example.org',
    'ftp://app.example.org',
    'file:///x',
    'null',
    '*',
    'true',
    'https://',
    'https://a b',
    'https://app.example.org;https://b.example.org'
  ]
  for (const typo of typos) {
    const message = mistakeOf(() => read(`https://right.example.org, ${typo}`))
    t.match(message, /^gateway\.origins: got ".*" from GATEWAY_ORIGINS, takes a list of origins/, typo)
    t.ok(message.endsWith(`; not accepted: ${JSON.stringify(typo)}`), message)
  }
  t.match(
    mistakeOf(() => read('https://u:hunter2@h')),
    /^gateway\.origins: got a value \(not shown\)/
  )
  t.throws(() => read('https://right.example.org,'), { name: 'ConfigError', message: /^gateway\.origins: / })
})

/** The message of the ConfigError that a function throws. */
function mistakeOf(load: () => unknown): string {
  try {
    return `accepted: ${load()}`
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
}
