/** Mistakes in a configuration file with secrets: the message names the place and contains no text of the file. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { integer, secret, secretList } from '#common/config/keys.ts'
import { loadConfig } from '#common/config/load.ts'
import { url } from '#common/config/url-keys.ts'

const schema = {
  gateway: { port: integer(8080, '') },
  rpc: { token: secret(''), nested: { peppers: secretList('') } },
  redis: { url: url(['redis'], '') }
}
const directory = mkdtempSync(join(tmpdir(), 'config-'))
t.teardown(() => rmSync(directory, { recursive: true }))
const file = join(directory, 'config.yml')

function messageFor(content: string): string {
  writeFileSync(file, content)
  try {
    loadConfig(schema, { CONFIG_FILE: file })
    return ''
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`
  }
}

const mistakes: Record<string, string> = {
  'a value instead of a section': 'redis: redis://:hunter2@127.0.0.1',
  'a section that is a secret': 'rpc: hunter2',
  'a section that is a list': 'rpc: [hunter2]',
  'an inner section that is a secret': 'rpc: {nested: hunter2}',
  'an inner section that is a list': 'rpc:\n  nested: ["a:hunter2"]',
  'a secret that is a number': 'rpc: {token: 5555}\n# hunter2',
  'a secret that is a map': 'rpc: {token: {hunter2: hunter2}}',
  'a secret with a space': 'rpc: {token: hunter2 x}',
  'a secret that YAML reads as an alias': 'rpc:\n  token: *hunter2',
  'a secret that YAML reads as a tag': 'rpc:\n  token: !hunter2 x y',
  'a secret with a reserved first character': 'rpc:\n  token: @hunter2',
  'a secret after a percent sign': 'rpc:\n  token: %hunter2',
  'a secret with an open quote': 'rpc:\n  token: "hunter2',
  'a secret with a colon': 'rpc:\n  token: a: hunter2',
  'a secret without a blank after the colon': 'rpc: {token:hunter2}',
  'a URL without a blank after the colon': 'redis: {url:redis://:hunter2@h}',
  'a secret that is a section': '{rpc:hunter2}',
  'a secret given twice': 'rpc:\n  token: hunter2\n  token: hunter2',
  'a tab before a secret': 'rpc:\n\ttoken: hunter2',
  'a secret instead of the whole file': 'hunter2',
  'a list instead of sections': '- hunter2',
  'a URL of another scheme': 'redis: {url: "http://:hunter2@h"}',
  'a malformed URL': 'redis: {url: "redis//:hunter2@h"}',
  'a pepper that is too short': 'rpc: {nested: {peppers: ["a:hunter2aaaa"]}}'
}
// The warnings of a library go to the console, which is a log too.
const warnings: string[] = []
process.on('warning', (warning) => warnings.push(String(warning)))

for (const [what, content] of Object.entries(mistakes)) {
  t.test(what, async (t) => {
    const message = messageFor(content)
    t.match(message, /^ConfigError: [^\n]+$/)
    t.notMatch(message, /hunter2/)
    await new Promise((resolve) => setImmediate(resolve))
    t.notMatch(warnings.splice(0).join(), /hunter2/)
  })
}

t.test('names with a meaning in JavaScript are unknown keys', async (t) => {
  for (const content of [
    'gateway: {__proto__: {port: 1}}',
    'gateway: {constructor: 1}',
    'gateway: {toString: 1}',
    '__proto__: {}',
    'constructor: {}'
  ]) {
    t.match(messageFor(content), /unknown (key|section)/, content)
  }
  t.equal(({} as { port?: number }).port, undefined)
})

t.test('the message names an unreadable file', async (t) => {
  t.throws(() => loadConfig(schema, { CONFIG_FILE: directory }), { name: 'ConfigError', message: /EISDIR/ })
  t.throws(() => loadConfig(schema, { CONFIG_FILE: join(directory, 'none.yml') }), {
    name: 'ConfigError',
    message: /none\.yml: cannot be read \(ENOENT\)/
  })
  const before = process.cwd()
  process.chdir(mkdtempSync(join(directory, 'empty-')))
  t.teardown(() => process.chdir(before))
  t.equal(loadConfig(schema, {}).gateway.port, 8080, 'config.yml itself may be missing')
})
