/** What stops the stack, and what counts as impatience, in a process of its own. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'

const source = JSON.stringify(join(import.meta.dirname, '..', 'stop-signals.ts'))
const script = `
  const { onStop } = await import(${source})
  onStop((why) => console.log(why), () => console.log('hurry'))
  setTimeout(() => {}, 60_000)
  console.log(process.pid)`

/** A process that waits for a stop, started by a shell, and what it said. */
async function start(t: Test) {
  const env = { ...process.env, MAKELEVEL: '1', SCRIPT: script, NODE: process.execPath }
  const shell = spawn('sh', ['-c', '"$NODE" --input-type=module --eval "$SCRIPT"; :'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const said: string[] = []
  const output = createInterface({ input: shell.stdout }).on('line', (line) => said.push(line))
  await once(output, 'line')
  const pid = Number(said.shift())
  t.teardown(() => process.kill(pid, 'SIGKILL'))
  return { shell, pid, said }
}

t.test('a stop that arrives by two ways is one, a later signal is in a hurry', async (t) => {
  const { pid, said } = await start(t)
  process.kill(pid, 'SIGTERM')
  await sleep(50)
  process.kill(pid, 'SIGINT')
  await sleep(600)
  t.same(said, ['SIGTERM'])
  process.kill(pid, 'SIGINT')
  await sleep(100)
  t.same(said, ['SIGTERM', 'hurry'])
})

t.test('the end of the parent is a stop', async (t) => {
  const { shell, said } = await start(t)
  shell.kill('SIGKILL')
  await sleep(1200)
  t.same(said, ['make has ended'])
})

t.test('the end of the parent is no second stop', async (t) => {
  const { shell, pid, said } = await start(t)
  process.kill(pid, 'SIGHUP')
  await sleep(600)
  shell.kill('SIGKILL')
  await sleep(1200)
  t.same(said, ['SIGHUP'])
})
