/** `make logs` as a program: its exit codes, its two outputs, and its end. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { type LogFolder, lineAt, logFolder, traceId } from './log-folder.ts'

const root = join(import.meta.dirname, '..', '..')

function start(
  t: Test,
  folder: LogFolder,
  variables: NodeJS.ProcessEnv,
  command = process.execPath,
  args = ['stack/logs.ts']
) {
  const env = { ...process.env, STACK_DATA_DIR: folder.root, ...variables }
  const child = spawn(command, args, { env, cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

async function outcome(child: ChildProcess) {
  const [out, err, [code, signal]] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
    once(child, 'exit')
  ])
  return { out, err, code, signal }
}

t.test('make passes its variables, and standard output has the lines alone', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(0, { traceId }), lineAt(1, { traceId, service: 'user-svc' }), lineAt(2))
  const args = ['logs', `TRACE=${traceId}`, 'SERVICE=user-svc,session-svc', 'LEVEL=info', 'SINCE=2026-11-24T08:15:00Z']
  const { out, err, code } = await outcome(
    start(t, folder, { MAKEFLAGS: undefined, MAKELEVEL: undefined }, 'make', args)
  )
  t.same({ out, err, code }, { out: lineAt(1, { traceId, service: 'user-svc' }), err: '', code: 0 })
})

t.test('reads the configured folders', async (t) => {
  const [folder, other] = [logFolder(t), logFolder(t)]
  folder.collect('sink/0/0', lineAt(0))
  other.collect('sink/0/0', lineAt(1))
  other.write('gateway/host-1', 1, lineAt(2))
  const variables = { LOG_SINK_DIRECTORY: other.collected, LOG_SPOOL_DIRECTORY: other.spool }
  t.equal((await outcome(start(t, folder, variables))).out, lineAt(1) + lineAt(2))
})

t.test('a wrong variable is one line on standard error and exit code 1', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(0))
  const level = 'LEVEL: must be one of trace, debug, info, warn, error, fatal, got "loud"\n'
  t.same(await outcome(start(t, folder, { LEVEL: 'loud' })), { out: '', err: level, code: 1, signal: null })
  const service = /^SERVICE: no log line of gatway; there are gateway, .*\n$/
  t.match(await outcome(start(t, folder, { SERVICE: 'gatway' })), { out: '', err: service, code: 1 })
  t.match(await outcome(start(t, folder, { GATEWAY_PORT: 'x' })), { out: '', err: /^gateway\.port: .*\n$/, code: 1 })
})

t.test('no matching line is exit code 0', async (t) => {
  const folder = logFolder(t)
  const err = `no matching log line in ${folder.collected} and ${folder.spool}\n`
  t.same(await outcome(start(t, folder, {})), { out: '', err, code: 0, signal: null })
})

t.test('ends with exit code 0 when its output is closed', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', ...Array.from({ length: 20_000 }, (_, i) => lineAt(i)))
  for (const FOLLOW of ['0', '1']) {
    const child = start(t, folder, { FOLLOW })
    child.stdout.once('data', () => child.stdout.destroy())
    const [err, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
    t.same({ err, code }, { err: '', code: 0 })
  }
})

t.test('FOLLOW ends with the next line when its output is closed', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(0))
  const child = start(t, folder, { FOLLOW: '1' })
  await once(child.stdout, 'data')
  child.stdout.destroy()
  const exited = once(child, 'exit')
  folder.collect('sink/0/0', lineAt(1))
  t.same(await exited, [0, null])
})

t.test('Ctrl-C ends FOLLOW with exit code 0', async (t) => {
  const folder = logFolder(t)
  folder.collect('sink/0/0', lineAt(0))
  const child = start(t, folder, { FOLLOW: '1' })
  child.stdout.once('data', () => child.kill('SIGINT'))
  t.same(await outcome(child), { out: lineAt(0), err: '', code: 0, signal: null })
})
