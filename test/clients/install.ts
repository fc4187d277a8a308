/** Installs the generators of clients into `.tools/clients`: for TypeScript from npm, for Python from PyPI, in fixed versions. */

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { installPackages } from '../../stack/engines/debian-package.ts'
import { runTool } from '../../stack/tool.ts'

type Print = (line: string) => void
type Install = (folder: string, signal: AbortSignal, print: Print) => Promise<unknown>

const sources = import.meta.dirname
const root = join(sources, '..', '..')

/** The folder of an installed generator. */
export const installed = (language: 'typescript' | 'python') => join(root, '.tools', 'clients', language)

/** Whether the generator of a language is installed. */
export const hasGenerator = (language: 'typescript' | 'python') => existsSync(join(installed(language), 'versions'))

/** Installs both generators. Where that is impossible, prints that their tests are skipped. */
export async function installClientGenerators(print: Print, signal: AbortSignal): Promise<void> {
  await Promise.all([
    install('typescript', 'package-lock.json', installTypescript, print, signal),
    install('python', 'requirements.txt', installPython, print, signal)
  ])
}

async function install(
  language: 'typescript' | 'python',
  lock: string,
  run: Install,
  print: Print,
  signal: AbortSignal
): Promise<void> {
  const folder = installed(language)
  const versions = readFileSync(join(sources, language, lock), 'utf8')
  if (hasGenerator(language) && readFileSync(join(folder, 'versions'), 'utf8') === versions) return
  print(`installing the generator of clients: ${language}`)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  try {
    await run(folder, signal, print)
    writeFileSync(join(folder, 'versions'), versions)
  } catch (error) {
    signal.throwIfAborted()
    print(`the test of the generated client is skipped: ${language}: ${(error as Error).message}`)
  }
}

async function installTypescript(folder: string, signal: AbortSignal) {
  for (const name of ['package.json', 'package-lock.json'])
    cpSync(join(sources, 'typescript', name), join(folder, name))
  await runTool('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder, signal })
}

async function installPython(folder: string, signal: AbortSignal, print: Print) {
  await runTool('python3', ['-c', 'import venv, ensurepip'], { signal }).catch(() =>
    installPackages(['python3-venv'], print, signal)
  )
  await runTool('python3', ['-m', 'venv', folder], { signal })
  const requirements = join(sources, 'python', 'requirements.txt')
  const options = ['--quiet', '--no-deps', '--require-hashes', '--disable-pip-version-check', '--no-input']
  await runTool(join(folder, 'bin', 'pip'), ['install', ...options, '-r', requirements], { signal })
}
