/** Files of tests that pass, fail, or end early, run as `make test` runs them. */

import { join } from 'node:path'
import t from 'tap'
import { runTap } from './tap-run.ts'

const tap = JSON.stringify(import.meta.resolve('tap'))
const files = {
  'passes.ts': `import t from ${tap}\nt.test('one', async (t) => t.pass('fine'))`,
  'fails.ts': `import t from ${tap}\nt.equal(1, 2, 'one is two')`,
  'ends-early.ts': `import t from ${tap}\nt.test('waits', () => new Promise(() => {}))`,
  'no-tests.ts': `process.exit(0)`,
  'crashes.ts': `process.kill(process.pid, 'SIGKILL')`
}

t.test('counts each file that does not end as it should as a failure', async (t) => {
  const directory = t.testdir(files)
  const results: Record<string, string> = {}
  for (const name of Object.keys(files)) {
    const printed: string[] = []
    const { passed, failed } = await runTap(
      [join(directory, name)],
      process.env,
      (line) => printed.push(line),
      new AbortController().signal
    )
    results[name] = `${passed} passed, ${failed} failed`
    if (failed > 0) t.match(printed.join('\n'), /FAILED/)
  }
  t.same(results, {
    'passes.ts': '1 passed, 0 failed',
    'fails.ts': '0 passed, 1 failed',
    'ends-early.ts': '0 passed, 1 failed',
    'no-tests.ts': '0 passed, 1 failed',
    'crashes.ts': '0 passed, 1 failed'
  })
})
