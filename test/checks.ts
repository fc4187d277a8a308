/** The static checks: lint, format, types, contracts, generated files, and what the project installs. */

import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runTool, ToolError } from '../stack/tool.ts'
import {
  lockfiles,
  packagesOf,
  requireChecksums,
  requireHashes,
  requirementFiles,
  requireNoAdvisory
} from '../supply-chain/lockfiles.ts'
import { billOfMaterials } from '../supply-chain/sbom.ts'
import { requireNoSecrets } from '../supply-chain/secret-scan.ts'

interface CheckResult {
  name: string
  /** Undefined if the check passed. */
  complaint: string | undefined
  tookMs: number
}

type Check = (signal: AbortSignal) => Promise<unknown>

const tool =
  (file: string, ...args: string[]): Check =>
  (signal) =>
    runTool(file, args, { signal })

const checks: Record<string, Check> = {
  'lint and format': tool('biome', 'check', '--colors=off'),
  types: tool('tsc', '--pretty', 'false'),
  'contracts: lint': tool('buf', 'lint'),
  'contracts: format': tool('buf', 'format', '--exit-code', '--diff'),
  'generated code': compareGeneratedCode,
  'generated pages': tool(process.execPath, 'docs/generate/run.ts', '--check'),
  'compose files': tool('dclint', 'compose.yaml', 'compose.two.yaml'),
  secrets: findSecrets,
  'checksums of packages': async () => {
    requireChecksums(lockedPackages())
    for (const file of requirementFiles) requireHashes(readFileSync(file, 'utf8'))
  },
  'advisories of packages': async () => requireNoAdvisory(lockedPackages()),
  'bill of materials': billOfMaterials
}

const lockedPackages = () => lockfiles.flatMap(packagesOf)

/** Scans every file that git has or would add for credentials. */
async function findSecrets(signal: AbortSignal): Promise<void> {
  const listed = await runTool('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { signal })
  const files = listed.split('\n').filter((file) => existsSync(file) && !/^gen\/|package-lock\.json$/.test(file))
  await requireNoSecrets(files, signal)
}

/** Runs all checks at once. */
export function runChecks(signal: AbortSignal): Promise<CheckResult[]> {
  return Promise.all(
    Object.entries(checks).map(async ([name, check]) => {
      const startedAt = performance.now()
      const complaint = await check(signal).then(() => undefined, complaintOf)
      return { name, complaint, tookMs: performance.now() - startedAt }
    })
  )
}

async function compareGeneratedCode(signal: AbortSignal): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'generated-'))
  try {
    await runTool('buf', ['generate', '--output', folder], { signal })
    const fresh = filesUnder(join(folder, 'gen'))
    const committed = filesUnder('gen')
    const stale = [...new Set([...fresh.keys(), ...committed.keys()])].filter(
      (file) => fresh.get(file) !== committed.get(file)
    )
    if (stale.length > 0) throw new Error(`stale: gen/${stale.join(', gen/')}; run \`make generate\``)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function filesUnder(folder: string): Map<string, string> {
  const files = globSync('**/*.ts', { cwd: folder })
  return new Map(files.map((file) => [file, readFileSync(join(folder, file), 'utf8')]))
}

function complaintOf(error: unknown): string {
  return error instanceof ToolError ? error.output : (error as Error).message
}
