/** The message of a failed tool. */

import t from 'tap'
import { runTool, type ToolError } from '../tool.ts'

const messageOf = (output: string) =>
  runTool('sh', ['-c', 'printf %s "$1" >&2; exit 1', 'sh', output]).then(
    () => undefined,
    (error: ToolError) => error.message
  )

t.test('the message is the line with the reason, not the clean-up after it', async (t) => {
  const initdb = (reason: string) =>
    `creating subdirectories ... ${reason}\ninitdb: removing contents of data directory "x"`
  const full = 'initdb: error: could not create directory "x/base": No space left on device'
  t.equal(await messageOf(initdb(`\n${full}`)), full)
  const fatal = '2026-11-28 07:00:00.000 UTC [1] FATAL:  insufficient file descriptors available'
  t.equal(
    await messageOf(initdb(`${fatal}\nchild process exited with exit code 1`)),
    `creating subdirectories ... ${fatal}`
  )
})

t.test('the message of other output is the last line', async (t) => {
  t.equal(await messageOf('one error\ntwo'), 'two')
  t.match(await messageOf(''), /^Command failed/)
})
