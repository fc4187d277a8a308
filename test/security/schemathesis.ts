/** Tests every operation of the OpenAPI document with generated requests, by Schemathesis, in all of its phases. */

import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { installPackages } from '../../stack/engines/debian-package.ts'
import { runTool } from '../../stack/tool.ts'
import { createProduct, longBudgets } from '../support/product.ts'
import type { Part, PartOptions } from './part.ts'

const sources = join(import.meta.dirname, 'schemathesis')
const folder = join(import.meta.dirname, '..', '..', '.tools', 'schemathesis')
const maxExamples = 200

export const testOperations: Part = async ({ t, print, signal }) => {
  const failure = await install(print, signal)
  if (failure !== undefined) return [{ name: 'schemathesis', outcome: 'skipped', details: failure }]
  const product = await createProduct(t, { ...longBudgets, ...mailTo(join(folder, 'mail')) })
  await product.startAll()
  const origin = `http://127.0.0.1:${product.ports.rest}`
  const sessions = { SCHEMATHESIS_HOOKS: 'hooks', PYTHONPATH: sources, PRODUCT_ORIGIN: origin }
  const rows = []
  for (const [name, env] of Object.entries({ 'with a session': sessions, 'without a session': {} })) {
    const { code, last } = await run(`${origin}/openapi.json`, env, print, signal)
    const outcome = code === 0 ? ('passed' as const) : ('failed' as const)
    rows.push({ name: `schemathesis ${name}`, outcome, details: last })
  }
  for (const name of ['gateway', 'user-svc', 'session-svc'] as const) {
    if (product.process(name)?.exitCode !== null) rows.push({ name, outcome: 'failed' as const, details: 'has exited' })
  }
  return rows
}

const options = [
  ...['--config-file', join(sources, 'schemathesis.toml'), 'run'],
  ...['--phases', 'examples,coverage,fuzzing,stateful', '--max-examples', String(maxExamples)],
  ...['--continue-on-failure', '--no-color', '--suppress-health-check', 'all', '--warnings', 'off']
]

const mailTo = (directory: string): Record<string, string> => ({
  MAIL_URL: `file:${directory}`,
  MAIL_FROM: 'auth@example.org',
  MAIL_LINKS_VERIFY: 'https://app.example.org/verify#{token}',
  MAIL_LINKS_RESET: 'https://app.example.org/reset#{token}',
  MAIL_KEYS: `a:${Buffer.alloc(32, 7).toString('base64')}`
})

/** @returns the reason why it cannot be installed here */
async function install(print: PartOptions['print'], signal: AbortSignal): Promise<string | undefined> {
  const requirements = join(sources, 'requirements.txt')
  const versions = readFileSync(requirements, 'utf8')
  const marker = join(folder, 'versions')
  if (existsSync(marker) && readFileSync(marker, 'utf8') === versions) return undefined
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  try {
    await runTool('python3', ['-c', 'import venv, ensurepip'], { signal }).catch(() =>
      installPackages(['python3-venv'], print, signal)
    )
    await runTool('python3', ['-m', 'venv', folder], { signal })
    const options = ['--quiet', '--no-deps', '--require-hashes', '--disable-pip-version-check', '--no-input']
    await runTool(join(folder, 'bin', 'pip'), ['install', ...options, '-r', requirements], { signal })
    writeFileSync(marker, versions)
    return undefined
  } catch (error) {
    signal.throwIfAborted()
    return `Schemathesis cannot be installed: ${(error as Error).message}`
  }
}

async function run(url: string, env: Record<string, string>, print: PartOptions['print'], signal: AbortSignal) {
  const program = join(folder, 'bin', 'schemathesis')
  const stdio = ['ignore', 'pipe', 'inherit'] as const
  const child = spawn(program, [...options, url], {
    cwd: folder,
    stdio: [...stdio],
    env: { ...process.env, ...env },
    signal
  })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  let last = ''
  for await (const line of createInterface({ input: child.stdout })) {
    print(line)
    if (/\d/.test(line) && /passed|failed|failure|generated/i.test(line)) last = line.replaceAll('=', '').trim()
  }
  return { code: await exited, last }
}
