/** The signals that stop the stack, in a child process. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { until } from '#common/testing/until.ts'

const source = JSON.stringify(join(import.meta.dirname, '..', 'stop-signals.ts'))
const script = `
  const { onStop } = await import(${source})
  onStop((reason) => console.log(reason), () => console.log('later signal'))
  setTimeout(() => {}, 60_000)
  console.log(process.pid)`

// Signals within half a second count as one, and the parent is checked as often.
const pastBothMs = 1500

/** A process that waits for a stop, its parent shell, and the lines that it prints. */
async function start(t: Test) {
  const env = { ...process.env, MAKELEVEL: '1', SCRIPT: script, NODE: process.execPath }
  const shell = spawn('sh', ['-c', '"$NODE" --input-type=module --eval "$SCRIPT"; :'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const lines: string[] = []
  const output = createInterface({ input: shell.stdout }).on('line', (line) => lines.push(line))
  await once(output, 'line')
  const pid = Number(lines.shift())
  t.teardown(() => process.kill(pid, 'SIGKILL'))
  return { shell, pid, lines }
}

t.test('two signals at once are one stop, and a later signal is a second one', async (t) => {
  const { pid, lines } = await start(t)
  process.kill(pid, 'SIGTERM')
  await until('the first signal is handled', () => lines.length === 1)
  process.kill(pid, 'SIGINT')
  await sleep(pastBothMs)
  t.same(lines, ['SIGTERM'])
  process.kill(pid, 'SIGINT')
  await until('the later signal is handled', () => lines.length === 2)
  t.same(lines, ['SIGTERM', 'later signal'])
})

t.test('the end of the parent stops the stack', async (t) => {
  const { shell, lines } = await start(t)
  shell.kill('SIGKILL')
  await until('the end of the parent is noticed', () => lines.length === 1)
  t.same(lines, ['make has ended'])
})

t.test('the end of the parent after a signal is not a second stop', async (t) => {
  const { shell, pid, lines } = await start(t)
  process.kill(pid, 'SIGHUP')
  await until('the signal is handled', () => lines.length === 1)
  await sleep(pastBothMs)
  shell.kill('SIGKILL')
  await sleep(pastBothMs)
  t.same(lines, ['SIGHUP'])
})
