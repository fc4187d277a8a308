/** Files of tests that pass, fail, or end early, run as `make test` runs them. */

import { join } from 'node:path'
import t from 'tap'
import { runTap } from './tap-run.ts'

const tap = JSON.stringify(import.meta.resolve('tap'))
const files = {
  'passes.ts': `import t from ${tap}\nt.test('one', async (t) => t.pass('fine'))`,
  'skips.ts': `import t from ${tap}\nt.plan(0, 'no program')\nprocess.exit(0)`,
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
    const { passed, failed, skipped } = await runTap(
      [join(directory, name)],
      process.env,
      (line) => printed.push(line),
      new AbortController().signal
    )
    results[name] = `${passed} passed, ${failed} failed, ${skipped} skipped`
    if (failed > 0) t.match(printed.join('\n'), /FAILED/)
  }
  t.same(results, {
    'passes.ts': '1 passed, 0 failed, 0 skipped',
    'skips.ts': '0 passed, 0 failed, 1 skipped',
    'fails.ts': '0 passed, 1 failed, 0 skipped',
    'ends-early.ts': '0 passed, 1 failed, 0 skipped',
    'no-tests.ts': '0 passed, 1 failed, 0 skipped',
    'crashes.ts': '0 passed, 1 failed, 0 skipped'
  })
})
