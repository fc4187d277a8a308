/** The report of a test run: one line for each file, each failure once. */

import t from 'tap'
import { reportTap } from './tap-report.ts'

function read(text: string) {
  const printed: string[] = []
  return { counts: reportTap(text.split('\n'), (line) => printed.push(line)), printed: printed.join('\n') }
}

const passing = `
# Subtest: a.test.ts
    # Subtest: outer
        ok 1 - should be equal
        ok 2 - should be equal
        1..2
    ok 1 - outer # time=3.49ms

    ok 2 - later # SKIP no reason
    ok 3 - someday # TODO
    1..3
ok 1 - a.test.ts # time=12345.67ms`

const failing = `
# Subtest: b.test.ts
    # Subtest: outer
        not ok 1 - one is two
          ---
          diff: |
            ok 7 - this is no test point
          ...

        1..1
    not ok 1 - outer # time=1ms
      ---
      source: none
      ...

    1..1
not ok 2 - b.test.ts # time=1ms
  ---
  exitCode: 1
  ...
`

t.test('counts assertions, not the tests around them', async (t) => {
  const { counts, printed } = read(passing)
  t.same(counts, { passed: 2, failed: 0, skipped: 2 })
  t.equal(printed, 'ok         4   12.3 s  a.test.ts')
})

t.test('prints a failure once, with its path and diagnostic', async (t) => {
  const { counts, printed } = read(`TAP version 14\n1..2${passing}${failing}# { total: 2 }`)
  t.same(counts, { passed: 2, failed: 1, skipped: 2 })
  const failure = '\nFAILED b.test.ts > outer > one is two\ndiff: |\n  ok 7 - this is no test point'
  t.equal(printed, ['ok         4   12.3 s  a.test.ts', failure, 'FAILED     1    0.0 s  b.test.ts'].join('\n'))
})

t.test('counts a file that crashes outside of an assertion as a failure', async (t) => {
  const { counts, printed } = read(`# Subtest: c.test.ts
    ok 1 - fine
    1..1
not ok 1 - c.test.ts # time=1ms
  ---
  signal: SIGSEGV
  ...`)
  t.same(counts, { passed: 1, failed: 1, skipped: 0 })
  t.match(printed, /FAILED c\.test\.ts\nsignal: SIGSEGV/)
})

t.test('counts an incomplete run as a failure', async (t) => {
  const { counts } = read('# Subtest: c.test.ts\n    ok 1 - fine\nnot ok 3 - timeout!\n  ---\n  expired: TAP\n  ...')
  t.same(counts, { passed: 1, failed: 1, skipped: 0 })
})
