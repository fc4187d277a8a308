/** The priority of a session, which is lowered by the process that leads it and by no other. */

import { type SpawnOptions, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import t from 'tap'

const module = new URL('../session-priority.ts', import.meta.url).href
const script = `
import { readFileSync } from 'node:fs'
import { lowerSessionPriority } from '${module}'
const done = lowerSessionPriority(10)
console.log(done + readFileSync('/proc/self/autogroup', 'utf8'))
`
const skip = !existsSync('/proc/self/autogroup') && 'the kernel does not group by session'

function run(options: SpawnOptions): string {
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], options)
  return String(stdout)
}

t.test('who leads a session puts it behind others', { skip }, async (t) => {
  t.match(run({ detached: true }), /^true.* nice 10$/m)
})

t.test('who shares one leaves it as it is', { skip }, async (t) => {
  t.match(run({}), /^false/)
})
