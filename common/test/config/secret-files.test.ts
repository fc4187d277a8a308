/** Secrets from files: `<variable>_FILE`. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { load, messageOf } from './example.ts'

const directory = mkdtempSync(join(tmpdir(), 'secrets-'))
function fileWith(content: string): string {
  const file = join(directory, `file-${content.length}`)
  writeFileSync(file, content)
  return file
}

t.test('a secret comes from its file, without one line break at its end', async (t) => {
  const token = 'a-token-of-a-file'
  for (const content of [token, `${token}\n`, `${token}\r\n`]) {
    t.equal(load('', { RPC_TOKEN_FILE: fileWith(content) }).rpc.token, token)
  }
  t.equal(load('rpc: {token: other}', { RPC_TOKEN_FILE: fileWith(token), RPC_TOKEN: '' }).rpc.token, token)
  t.equal(load('', { REDIS_URL_FILE: fileWith('redis://:x@h\n') }).redis.url, 'redis://:x@h')
  t.equal(load('', { RPC_TOKEN_FILE: '', RPC_TOKEN: token }).rpc.token, token)
  t.equal(load('rpc: {token: other}').rpc.token, 'other')
  const otherService = load('', { USER_SVC_PASSWORD_PEPPERS_FILE: '/not/read/by/this/service' })
  t.equal(otherService.rpc.token, '', 'the file of another service is not read')
})

t.test('a mistake stops the start with a line that shows neither the path nor the value', async (t) => {
  const fifo = join(directory, 'fifo')
  execFileSync('mkfifo', [fifo])
  const mistakes: [NodeJS.ProcessEnv, RegExp][] = [
    [{ RPC_TOKEN_FILE: fileWith('hunter2\n\n') }, /^rpc\.token: got a value \(not shown\)/],
    [{ RPC_TOKEN_FILE: fileWith('hunter2'), RPC_TOKEN: 'hunter2' }, /^RPC_TOKEN_FILE: is set beside RPC_TOKEN/],
    [{ RPC_TOKEN_FILE: 'hunter2' }, /^RPC_TOKEN_FILE: names a file that cannot be read \(ENOENT\)/],
    [{ RPC_TOKEN_FILE: directory }, /^RPC_TOKEN_FILE: .*\(it is no file\)/],
    [{ RPC_TOKEN_FILE: fifo }, /^RPC_TOKEN_FILE: names a file/],
    [{ RPC_TOKEN_FILE: fileWith('\n') }, /^RPC_TOKEN_FILE: .*\(it is empty\)/],
    [{ RPC_TOKEN_FILE: fileWith('x'.repeat(70_000)) }, /^RPC_TOKEN_FILE: .*65536/],
    [{ GATEWAY_PORT_FILE: fileWith('8080') }, /^GATEWAY_PORT_FILE: unknown variable/],
    [{ RPC_TOKENS_FILE: 'hunter2' }, /^RPC_TOKENS_FILE: unknown variable, the nearest is RPC_TOKEN_FILE/]
  ]
  for (const [environment, expected] of mistakes) {
    const message = messageOf(() => load('', environment))
    t.match(message, expected)
    t.notMatch(message, /hunter2|secrets-/)
  }
})
