/** The list of breached passwords: the format of its files, and a list that is missing. */

import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Code } from '@connectrpc/connect'
import t from 'tap'
import { ConfigError } from '#common/config/load.ts'
import { silentLog } from '#common/testing/service.ts'
import { openBreachList, requireBreachList } from '../../passwords/breach-list.ts'
import { createPasswordRules } from '../../passwords/password-rules.ts'

const sha1 = (password: string) => createHash('sha1').update(password).digest('hex').toUpperCase()
const other = `${'0'.repeat(34)}1:3`
const breached = 'breached Pässword'
const padding = 'a line of padding'

/** A directory with the files of the listed passwords, and those that the start checks. */
function writeList(directory: string): string {
  for (const prefix of ['00000', 'FFFFF']) writeFileSync(join(directory, `${prefix}.txt`), other)
  const hash = sha1(breached)
  writeFileSync(join(directory, `${hash.slice(0, 5)}.txt`), `${other}\r\n${hash.slice(5)}:2\r\n`)
  const padded = sha1(padding)
  writeFileSync(join(directory, `${padded.slice(0, 5)}.txt`), `${padded.slice(5).toLowerCase()}:0\n${other}\n`)
  return directory
}

t.test('a password on the list is rejected, under NFC and in its case', async (t) => {
  const directory = writeList(t.testdir())
  const breachList = openBreachList({ directory, whenMissing: 'refuse' }, silentLog)
  const { newPassword } = createPasswordRules({ minLength: 8, serviceWords: [], breachList })
  t.match(await newPassword('password', breached.normalize('NFD'), ''), { value: undefined, code: 'breached' })
  t.match(await newPassword('password', padding, ''), { value: padding })
  await t.rejects(
    newPassword('password', breached.toLowerCase(), ''),
    { code: Code.Unavailable },
    'its file is missing'
  )
})

t.test('without the list: refuse and accept, with one warning that names no hash', async (t) => {
  const directory = t.testdir()
  const lines: unknown[] = []
  const log = { warn: (...line: unknown[]) => void lines.push(line) } as unknown as typeof silentLog
  const accepting = openBreachList({ directory, whenMissing: 'accept' }, log)
  t.equal(await accepting?.contains(breached), false)
  t.equal(await accepting?.contains(breached), false)
  t.equal(lines.length, 1)
  t.notMatch(JSON.stringify(lines), new RegExp(sha1(breached).slice(0, 5), 'i'))
  const refusing = openBreachList({ directory, whenMissing: 'refuse' }, silentLog)
  await t.rejects(async () => void (await refusing?.contains(breached)), { code: Code.Unavailable })

  const start = (directory: string, whenMissing: 'refuse' | 'accept') => () =>
    requireBreachList({ directory, whenMissing })
  t.throws(start(directory, 'refuse'), ConfigError)
  t.doesNotThrow(start(directory, 'accept'))
  t.doesNotThrow(start('', 'refuse'))
  const list = writeList(t.testdir())
  t.doesNotThrow(start(list, 'refuse'))
  writeFileSync(join(list, 'FFFFF.txt'), 'password\n')
  t.throws(start(list, 'refuse'), /FFFFF|without lines of the format/)
})
