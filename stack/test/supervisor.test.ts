/** Supervised processes: restarted, stopped in order, killed after their grace. */

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { getPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { platform } from 'node:process'
import t, { type Test } from 'tap'
import { isAlive } from '#common/process/process-identity.ts'
import { until } from '#common/testing/until.ts'
import type { Program } from '../supervised.ts'
import { createSupervisor } from '../supervisor.ts'

function start(t: Test, script: string, more: Partial<Program> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'supervisor-'))
  const lines: string[] = []
  const supervisor = createSupervisor(folder, (line) => lines.push(line))
  t.teardown(async () => {
    supervisor.killAll()
    await supervisor.stop([])
    rmSync(folder, { recursive: true })
  })
  supervisor.start({ name: 'program', graceMs: 5000, command: () => ({ file: 'sh', args: ['-c', script] }), ...more })
  const log = () => {
    const path = join(folder, 'program.log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }
  return { supervisor, lines, log }
}

t.test('restarts a program that fails to start with increasing delays, and reports the reason', async (t) => {
  const { lines, log } = start(t, 'echo starting; echo "cannot find my data" >&2; exit 3')
  await until('the supervisor has reported', () => lines.length === 3)
  const report = (seconds: number) =>
    `program ended (exit code 3); restarting it in ${seconds} s. Its log ends with: cannot find my data`
  t.same(lines, [report(1), report(2), report(4)])
  t.equal(log().match(/starting/g)?.length, 3, 'the log keeps the output of all starts')
})

t.test('restarts a killed program after a second', async (t) => {
  const { lines, log } = start(t, 'echo $$; exec sleep 60')
  await until('the program has written', () => log() !== '')
  process.kill(Number(log()), 'SIGKILL')
  await until('the program has restarted', () => log().trim().split('\n').length === 2)
  t.same(lines, ['program ended (signal SIGKILL); restarting it in 1 s'])
})

t.test('lowers the priority of a program after each start', { skip: platform !== 'linux' }, async (t) => {
  const { log } = start(t, 'echo $$; exec sleep 60', { yieldsAfterMs: 300 })
  for (const life of [0, 1]) {
    const pid = () => Number(log().trim().split('\n')[life] ?? 0)
    await until('the program runs', () => pid() > 0)
    await until('the priority is lower', () => getPriority(pid()) === getPriority() + 10)
    process.kill(pid(), 'SIGKILL')
  }
})

t.test('reports and retries a command that does not exist', async (t) => {
  const { lines } = start(t, '', { command: () => ({ file: '/nowhere/program', args: [] }) })
  await until('the supervisor has reported', () => lines.length > 0)
  t.match(lines[0], /^program ended \(not started, spawn \/nowhere\/program ENOENT\); restarting it in 1 s/)
})

t.test('stop waits for a program that finishes its work', async (t) => {
  const { supervisor, lines, log } = start(t, 'trap "sleep 1; echo finished; exit 0" TERM; echo up; sleep 60 & wait')
  await until('the program has written', () => log() !== '')
  await supervisor.stop([])
  t.match(log(), /finished/)
  t.same(lines, [])
})

t.test('kills a program that exceeds its grace, with its children, and reports it', async (t) => {
  const { supervisor, lines, log } = start(t, 'trap "" TERM; sleep 60 & echo $!; wait; sleep 60', { graceMs: 300 })
  await until('the program has written', () => log() !== '')
  await supervisor.stop([])
  t.same(lines, ['program did not stop within 0.3 s; killing it'])
  await until('the program is dead', () => !isAlive(Number(log())))
})

t.test('killAll ends a pending stop', async (t) => {
  const { supervisor, lines, log } = start(t, 'trap "" TERM; echo up; sleep 60', { graceMs: 60_000 })
  await until('the program has written', () => log() !== '')
  const stopped = supervisor.stop([])
  supervisor.killAll()
  await stopped
  t.same(lines, [], 'the program was not killed after its grace')
})

t.test('stops the named programs in order, then the others', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'supervisor-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const journal = join(folder, 'journal')
  const supervisor = createSupervisor(folder, () => {})
  for (const name of ['first', 'second', 'third']) {
    const script = `trap "echo ${name} >>${journal}; exit 0" TERM; echo up; sleep 60 & wait`
    supervisor.start({ name, graceMs: 5000, command: () => ({ file: 'sh', args: ['-c', script] }) })
    await until(
      'the program has written',
      () => existsSync(join(folder, `${name}.log`)) && readFileSync(join(folder, `${name}.log`)).length > 0
    )
  }
  await supervisor.stop(['third', 'first'])
  t.equal(readFileSync(journal, 'utf8'), 'third\nfirst\nsecond\n')
})
