/** The log file of a process: emptied at the start, limited in size, quoted in reports. */

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { until } from '#common/testing/until.ts'
import { openLogFile } from '../log-file.ts'

function open(t: Test, maxBytes?: number) {
  const folder = mkdtempSync(join(tmpdir(), 'log-'))
  const path = join(folder, 'program.log')
  writeFileSync(path, 'of the last run\n')
  const log = openLogFile(path, maxBytes, 50)
  t.teardown(() => {
    log.close()
    rmSync(folder, { recursive: true })
  })
  return { log, path, write: (text: string) => writeSync(log.fd, text) }
}

t.test('empties the file of the last run', async (t) => {
  const { log, path } = open(t)
  t.equal(readFileSync(path, 'utf8'), '')
  t.equal(log.lastLine(), '')
})

t.test('lastLine returns the line that explains why a program ended', async (t) => {
  const { log, write } = open(t)
  write('up\n{"level":"fatal","msg":"an error ends the service","err":{"message":"disk full"}}\n')
  t.equal(log.lastLine(), 'an error ends the service: disk full')
  write('TypeError: x is not a function\n    at file.ts:1:2\n    at other.ts:3:4\n\nNode.js v24.21.0\n')
  t.equal(log.lastLine(), 'TypeError: x is not a function')
  write('{"a":1}\n')
  t.equal(log.lastLine(), '{"a":1}')
})

t.test('moves the content to a second file above the size limit', async (t) => {
  const { path, write } = open(t, 1000)
  write('x'.repeat(2000))
  await until('the file is empty', () => statSync(path).size === 0)
  t.equal(statSync(`${path}.1`).size, 2000)
  write('after')
  t.equal(readFileSync(path, 'utf8'), 'after', 'the same descriptor writes at the beginning')
})
