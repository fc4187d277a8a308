/** Reports a test run from its TAP: one line for each file with its assertions and its duration, failures in full, and the counts. */

/** Numbers of assertions; TODO counts as skipped. */
export interface Counts {
  passed: number
  failed: number
  skipped: number
}

export function sum(counts: readonly Counts[]): Counts {
  const of = (kind: keyof Counts) => counts.reduce((total, each) => total + each[kind], 0)
  return { passed: of('passed'), failed: of('failed'), skipped: of('skipped') }
}

const pointPattern = /^( *)(not )?ok \d+(?: - (.*?))?(?: # (?:time=([\d.]+)ms|(SKIP|TODO)\b.*))?$/i
const subtestPattern = /^( *)# Subtest: (.*)$/

/** Reads the TAP of files and prints a line for each file and each failure. */
export function reportTap(lines: Iterable<string>, print: (text: string) => void): Counts {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const diagnostic = diagnosticReader()
  /** The names of the open subtests, with the failures counted before each. */
  const open: { name: string; failedBefore: number }[] = []
  let lastDepth = 0
  let testsBefore = 0

  function point(depth: number, failed: boolean, name: string, remark: string, tookMs: number): void {
    const isSubtest = lastDepth > depth
    const known = isSubtest && counts.failed > (open[depth]?.failedBefore ?? 0)
    lastDepth = depth
    if (remark === 'SKIP' || remark === 'TODO') counts.skipped += 1
    else if (failed && !known) fail(depth, name)
    else if (!failed && !isSubtest) counts.passed += 1
    if (depth === 0) closeFile(failed, name, tookMs)
    open.length = depth
  }

  function fail(depth: number, name: string): void {
    counts.failed += 1
    const path = [...open.slice(0, depth).map((subtest) => subtest.name), name]
    diagnostic.start(depth, (text) => print(`\nFAILED ${path.join(' > ')}\n${text}`))
  }

  function closeFile(failed: boolean, name: string, tookMs: number): void {
    const tests = counts.passed + counts.failed + counts.skipped
    const duration = `${(tookMs / 1000).toFixed(1)} s`
    print(`${failed ? 'FAILED' : 'ok    '} ${String(tests - testsBefore).padStart(5)} ${duration.padStart(8)}  ${name}`)
    testsBefore = tests
  }

  for (const line of lines) {
    if (diagnostic.takes(line)) continue
    const subtest = subtestPattern.exec(line)
    const match = pointPattern.exec(line)
    if (subtest) {
      const depth = (subtest[1] as string).length / 4
      open[depth] = { name: subtest[2] as string, failedBefore: counts.failed }
    } else if (match) {
      const [, indent = '', not, name = '', tookMs = '0', remark = ''] = match
      point(indent.length / 4, not !== undefined, name, remark.toUpperCase(), Number(tookMs))
    }
  }
  diagnostic.end()
  return counts
}

/** Reads the YAML block after a test point, which may contain anything, even TAP. */
function diagnosticReader() {
  let opening = ''
  let block: string[] | undefined
  let done: ((text: string) => void) | undefined

  function end(): void {
    done?.((block ?? []).join('\n'))
    block = undefined
    done = undefined
  }

  return {
    /** Passes the next block to `then` without its indentation; an empty text if none follows. */
    start(depth: number, then: (text: string) => void): void {
      end()
      opening = `${' '.repeat(depth * 4 + 2)}---`
      done = then
    },
    takes(line: string): boolean {
      if (block === undefined) {
        if (done !== undefined && line !== opening) end()
        if (!/^ *---$/.test(line)) return false
        opening = line
        block = []
      } else if (line === opening.replace('---', '...')) {
        end()
      } else {
        block.push(line.slice(opening.length - 3))
      }
      return true
    },
    end
  }
}
