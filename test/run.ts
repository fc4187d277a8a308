/** The program of `make test`: static checks, then the tests on engines of their own; the last line has the counts. */

import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, delimiter, join } from 'node:path'
import { onStop } from '../stack/stop-signals.ts'
import { runChecks } from './checks.ts'
import { installChromium } from './chromium.ts'
import { installClientGenerators } from './clients/install.ts'
import { installDocker } from './containers/install.ts'
import { startTestEngines } from './engines.ts'
import { comparePage, readAnswers, writePage } from './field-cases-page.ts'
import { installGrpcurl } from './grpcurl.ts'
import { installPgbouncer } from './pgbouncer.ts'
import { installPostgresPrograms } from './postgres-programs.ts'
import { installProxies } from './proxies.ts'
import { type Counts, sum } from './tap-report.ts'
import { runTap } from './tap-run.ts'

const root = join(import.meta.dirname, '..')
process.chdir(root)
const stopped = new AbortController()
const [, , ...args] = process.argv
const checksOnly = args.includes('--checks-only')
const writesPage = args.includes('--page')
const files = args.filter((arg) => !arg.startsWith('--'))
for (const file of files.filter((file) => !existsSync(file))) {
  print(`FILES: ${file} does not exist; paths are relative to the root, such as test/rest.test.ts`)
  process.exit(1)
}
const runs = (...names: string[]) => files.length === 0 || files.some((file) => names.includes(basename(file)))
const needsDocker = runs('image-run.test.ts')
const needsChromium = runs('playground.test.ts', 'browsers.test.ts')
const needsPostgresPrograms = runs('restore.test.ts')
const needsClients = runs('generated-clients.test.ts')

onStop(
  (reason) => {
    print(`${reason}: stopping`)
    stopped.abort()
  },
  () => process.exit(130)
)
const counts = await run().catch((error) => {
  if (!stopped.signal.aborted) console.error(error)
  return undefined
})
if (counts)
  print(`${counts.passed} passed, ${counts.failed} failed${counts.skipped ? `, ${counts.skipped} skipped` : ''}`)
process.exit(stopped.signal.aborted ? 130 : counts?.failed === 0 ? 0 : 1)

async function run(): Promise<Counts> {
  const counts: Counts[] = []
  if (files.length === 0) counts.push(await step('static checks', check))
  if (!checksOnly) counts.push(await step('tests', test))
  return sum(counts)
}

async function check(): Promise<Counts> {
  const results = await runChecks(stopped.signal)
  for (const { name, complaint, tookMs } of results) {
    print(`${complaint === undefined ? 'ok    ' : 'FAILED'} ${seconds(tookMs).padStart(7)}  ${name}`)
    if (complaint !== undefined) print(complaint)
  }
  const failed = results.filter(({ complaint }) => complaint !== undefined).length
  return { passed: results.length - failed, failed, skipped: 0 }
}

async function test(): Promise<Counts> {
  const [engines] = await step('engines and tools', () =>
    Promise.all([
      startTestEngines(root, print, stopped.signal),
      installGrpcurl(root, print, stopped.signal),
      installProxies(print, stopped.signal),
      installPgbouncer(print, stopped.signal),
      needsPostgresPrograms && installPostgresPrograms(print, stopped.signal),
      needsDocker && installDocker(print, stopped.signal),
      needsChromium && installChromium(print, stopped.signal),
      needsClients && installClientGenerators(print, stopped.signal)
    ])
  )
  const answersFolder = mkdtempSync(join(tmpdir(), 'field-cases-'))
  try {
    const path = [join(root, '.tools', 'bin'), process.env.PATH].join(delimiter)
    // A `make` that a test starts must not read the command line of `make test`.
    const { MAKEFLAGS, MFLAGS, MAKEOVERRIDES, ...inherited } = process.env
    // The processes of the tests then compile a module once: a gateway starts with 1.3 instead of 1.8 s of CPU.
    const compileCache = join(root, '.tools', 'compile-cache')
    const environment = {
      ...{ ...inherited, ...engines.environment, PATH: path },
      ...{ FIELD_CASES_DIR: answersFolder, NODE_COMPILE_CACHE: compileCache }
    }
    const counts = await runTap(files, environment, print, stopped.signal)
    if (files.length > 0 || counts.failed > 0) return counts
    const answers = readAnswers(answersFolder)
    const complaint = writesPage ? writePage(answers) : comparePage(answers, counts.skipped > 0)
    if (complaint !== undefined) {
      print(`FAILED ${complaint}`)
      counts.failed += 1
    }
    return counts
  } finally {
    rmSync(answersFolder, { recursive: true, force: true })
    await step('stopping the engines', engines.stop)
  }
}

async function step<T>(name: string, work: () => Promise<T>): Promise<T> {
  stopped.signal.throwIfAborted()
  const startedAt = performance.now()
  const result = await work()
  print(`-- ${name}: ${seconds(performance.now() - startedAt)}\n`)
  return result
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function print(line: string): void {
  console.log(line)
}
