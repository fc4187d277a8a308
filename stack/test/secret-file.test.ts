/** The files of generated secrets are checked at each start. */

import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { keepSecret, keptSecret, keptToken } from '../secret-file.ts'

const file = (name: string) => join(t.testdir(), name)

t.test('a secret is generated once, for its owner only', async (t) => {
  const path = file('made')
  const secret = keptSecret(path)
  t.match(secret, /^[\w-]{43}$/)
  t.equal(keptSecret(path), secret)
  t.equal(statSync(path).mode & 0o777, 0o600)
})

t.test('a secret that other users can read stops the start', async (t) => {
  const path = file('readable')
  const secret = keptSecret(path)
  for (const mode of [0o640, 0o604, 0o620]) {
    chmodSync(path, mode)
    t.throws(() => keptSecret(path), {
      name: 'StartError',
      message: `${path}: other users can read it (mode ${mode.toString(8)}); run chmod 600, and replace the secret if they may have`
    })
    t.throws(() => keptToken(path), { name: 'StartError' })
  }
  chmodSync(path, 0o600)
  t.equal(keptSecret(path), secret)
})

t.test('a short secret stops the start, and a short token is replaced', async (t) => {
  const path = file('short')
  keepSecret(path, 'x'.repeat(31))
  t.throws(() => keptSecret(path), { name: 'StartError', message: /has 31 characters, takes 32 or more/ })
  t.equal(readFileSync(path, 'utf8'), `${'x'.repeat(31)}\n`)
  t.match(keptToken(path), /^[\w-]{43}$/)
  writeFileSync(path, '')
  t.match(keptSecret(path), /^[\w-]{43}$/, 'an empty file has no secret')
})
