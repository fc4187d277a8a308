/** The log of a service: its outputs, its last lines, and errors of its directory. */

import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromJsonString } from '@bufbuild/protobuf'
import t from 'tap'
import { createLogger, type LogFields } from '#common/logging/logger.ts'
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

t.test('a line is a LogLine of the contract: other fields are not written', async (t) => {
  const lines: string[] = []
  const log = createLogger('gateway', 'info', { write: (line) => void lines.push(line) })
  const fields = { event: 'a', durationMs: 1.5, traceIds: ['b'], err: new Error('c'), unknown: 1 } as LogFields
  log.info(fields, 'd')
  t.match(fromJsonString(LogLineSchema, lines[0] ?? ''), {
    msg: 'd',
    durationMs: 1.5,
    traceIds: ['b'],
    err: { type: 'Error' }
  })
})
