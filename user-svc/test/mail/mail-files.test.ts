/** Emails as files: one for each, complete or absent, and only for their owner. */

import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createFileDelivery } from '../../mail/mail-files.ts'
import { message } from './mail-server.ts'

const { signal } = new AbortController()
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8)

t.test('writes one file for each email, which only its owner can read', async (t) => {
  const directory = join(mkdtempSync(join(tmpdir(), 'mail-files-')), 'a', 'mail')
  const previous = process.umask(0)
  t.teardown(() => process.umask(previous))
  const deliver = createFileDelivery(directory)
  const email = message()
  await deliver(email, signal)
  await deliver(email, signal)
  t.same(readdirSync(directory), [`${email.id}.eml`], 'a repetition replaces the file')
  t.equal(modeOf(join(directory, `${email.id}.eml`)), '600')
  t.equal(modeOf(directory), '700')
  t.equal(readFileSync(join(directory, `${email.id}.eml`), 'utf8'), email.content.toString())
})

t.test('a file that cannot be written is a failure that affects all emails, and leaves no draft', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'mail-files-'))
  const email = message()
  mkdirSync(join(directory, `${email.id}.eml`))
  writeFileSync(join(directory, `${email.id}.eml`, 'x'), '')
  await t.rejects(createFileDelivery(directory)(email, signal), {
    name: 'MailError',
    kind: 'unreachable',
    affectsAll: true
  })
  t.same(readdirSync(directory), [`${email.id}.eml`])
  const file = join(directory, 'file')
  writeFileSync(file, '')
  chmodSync(file, 0o600)
  await t.rejects(createFileDelivery(file)(email, signal), { name: 'MailError', kind: 'unreachable' })
})
