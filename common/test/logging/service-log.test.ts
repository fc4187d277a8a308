/** The log of a service: its outputs, its last lines, and errors of its directory. */

import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { create, toJson } from '@bufbuild/protobuf'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import t from 'tap'
import { fieldNames } from '#common/logging/logger.ts'
import { LogLineSchema } from '#gen/log/v1/log_pb.ts'

const script = `
import { createRegistry } from '#common/ops/metrics.ts'
import { openServiceLog } from '#common/logging/service-log.ts'
const [directory, stdout] = process.argv.slice(1)
const registry = createRegistry('svc')
const { log, close } = openServiceLog(
  'svc',
  {
    log: { level: 'info', stdout, spool: { directory, maxBytes: 2 ** 20 } },
    kafka: { brokers: [], compression: 'zstd', logs: { topic: 'logs' } }
  },
  registry
)
log.debug({ event: 'a' }, 'quiet')
log.info({ event: 'b' }, 'usual')
log.warn({ event: 'c' }, 'strange')
if (process.argv.includes('exit')) process.exit(3)
await close(100)
console.log((await registry.metrics()).match(/^log_.*$/gm).join('\\n'))
`
const run = (...args: string[]) =>
  spawnSync(process.execPath, ['--input-type=module', '--eval', script, '--', ...args], {
    cwd: join(import.meta.dirname, '..', '..', '..'),
    encoding: 'utf8'
  })

function linesBelow(directory: string): { event: string; instance: string }[] {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter(({ name }) =>
    name.endsWith('.ndjson')
  )
  const text = files.map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'utf8')).join('')
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

t.test('writes all lines to the disk, severe lines also to standard output', async (t) => {
  const directory = t.testdir({})
  const { stdout, stderr, status } = run(directory, 'warn')
  t.equal(status, 0, stderr)
  const [line = '', ...metrics] = stdout.split('\n')
  t.match(JSON.parse(line), { event: 'c', service: 'svc' })
  t.ok(metrics.includes('log_dropped_total{reason="disk"} 0'))
  t.ok(metrics.includes('log_shipped_total 0'))
  t.match(linesBelow(directory), [{ event: 'b' }, { event: 'c' }])
  t.equal(JSON.parse(line).instance, readdirSync(join(directory, 'svc'))[0], 'the folder is named by the instance')
})

t.test('writes the last lines of a process that exits', async (t) => {
  const directory = t.testdir({})
  t.equal(run(directory, 'silent', 'exit').status, 3)
  t.match(linesBelow(directory), [{ event: 'b' }, { event: 'c' }])
})

t.test('an unusable directory is a configuration error', async (t) => {
  const directory = t.testdir({ file: '' })
  const { stderr, status } = run(join(directory, 'file'), 'warn')
  t.not(status, 0)
  t.match(stderr, /ConfigError: log\.spool\.directory: .*file cannot be used \(ENOTDIR\)/)
})

t.test('the contract documents every field of a line, and no other', async (t) => {
  const fixed = ['level', 'time', 'service', 'version', 'instance', 'msg']
  t.same(LogLineSchema.fields.map(({ jsonName }) => jsonName).toSorted(), [...fixed, ...fieldNames].toSorted())
  const line = create(LogLineSchema, {
    level: 'info',
    time: timestampFromDate(new Date(0)),
    statusCode: 200,
    durationMs: 1.5
  })
  t.same(toJson(LogLineSchema, line), { level: 'info', time: '1970-01-01T00:00:00Z', statusCode: 200, durationMs: 1.5 })
})
