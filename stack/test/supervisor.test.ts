/** Programs under supervision, as real processes: started again, stopped in order, killed when nothing else helps. */

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
    supervisor.hurry()
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

t.test('a program that dies at start is started again, later each time, with the reason', async (t) => {
  const { lines, log } = start(t, 'echo starting; echo "cannot find my data" >&2; exit 3')
  await until('the supervisor has reported', () => lines.length === 3)
  const ended = 'program ended (exit code 3); starting it again'
  const reason = '; its log ends: cannot find my data'
  t.same(lines, [`${ended}${reason}`, `${ended} in 2 s${reason}`, `${ended} in 4 s${reason}`])
  t.equal(log().match(/starting/g)?.length, 3, 'its log keeps what it said before')
})

t.test('a killed program is started again after a second', async (t) => {
  const { lines, log } = start(t, 'echo $$; exec sleep 60')
  await until('the program has written', () => log() !== '')
  process.kill(Number(log()), 'SIGKILL')
  await until('the program has restarted', () => log().trim().split('\n').length === 2)
  t.same(lines, ['program ended (signal SIGKILL); starting it again'])
})

t.test('a program yields the CPU a while after each start', { skip: platform !== 'linux' }, async (t) => {
  const { log } = start(t, 'echo $$; exec sleep 60', { yieldsAfterMs: 300 })
  for (const life of [0, 1]) {
    const pid = () => Number(log().trim().split('\n')[life] ?? 0)
    await until('the program runs', () => pid() > 0)
    await until('the priority is lower', () => getPriority(pid()) === getPriority() + 10)
    process.kill(pid(), 'SIGKILL')
  }
})

t.test('a command that cannot be run is said and tried again', async (t) => {
  const { lines } = start(t, '', { command: () => ({ file: '/nowhere/program', args: [] }) })
  await until('the supervisor has reported', () => lines.length > 0)
  t.match(lines[0], /^program ended \(not started, spawn \/nowhere\/program ENOENT\); starting it again/)
})

t.test('stopping waits for a program that finishes its work', async (t) => {
  const { supervisor, lines, log } = start(t, 'trap "sleep 1; echo finished; exit 0" TERM; echo up; sleep 60 & wait')
  await until('the program has written', () => log() !== '')
  await supervisor.stop([])
  t.match(log(), /finished/)
  t.same(lines, [])
})

t.test('a program that does not stop in time is killed, with its children, and that is said', async (t) => {
  const { supervisor, lines, log } = start(t, 'trap "" TERM; sleep 60 & echo $!; wait; sleep 60', { graceMs: 300 })
  await until('the program has written', () => log() !== '')
  await supervisor.stop([])
  t.same(lines, ['program did not stop within 0.3 s; killing it'])
  await until('the program is dead', () => !isAlive(Number(log())))
})

t.test('whoever is in a hurry does not wait', async (t) => {
  const { supervisor, log } = start(t, 'trap "" TERM; echo up; sleep 60')
  await until('the program has written', () => log() !== '')
  const startedAt = performance.now()
  const stopped = supervisor.stop([])
  supervisor.hurry()
  await stopped
  t.ok(performance.now() - startedAt < 2000)
})

t.test('programs are stopped in the order that was asked for, the rest after them', async (t) => {
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
