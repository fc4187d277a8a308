/** Kafka without Docker: finds or installs Java, and fetches the broker's jars from Maven Central. */

import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Command } from '../supervised.ts'
import type { Print } from '../supervisor.ts'
import { systemEnvironment } from '../system-environment.ts'
import { isRoot } from '../system-user.ts'
import { isInstalled, runTool } from '../tool.ts'
import { installPackages } from './debian-package.ts'
import { UnavailableError } from './engine.ts'

const root = join(import.meta.dirname, '..', '..')
const recipe = join(root, 'stack', 'kafka')

// To standard error, with times, and without the settings that each client in the broker prints.
const logging = [
  'showDateTime=true',
  'dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS',
  'log.org.apache.kafka.common.config=warn'
].map((setting) => `-Dorg.slf4j.simpleLogger.${setting}`)

// The broker shares its machine with the services, so it uses the quick compiler only: at a low load the optimizing compiler
// takes as much CPU as the broker.
export const heap = '-Xmx256m'
export const lightCompiler = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']

/** In the folder of the settings. */
export const jarsLink = 'jars'

/** The command that runs a class of Kafka in a folder. */
export type KafkaCommand = (
  mainClass: string,
  ...args: string[]
) => Required<Pick<Command, 'file' | 'args' | 'options'>>

/**
 * Prepares an existing folder to run Kafka's classes in it. Commands and settings use relative paths: in an absolute path, a
 * comma would separate log folders, a colon entries of the class path, and a backslash would escape.
 *
 * @throws {UnavailableError} if Java or the jars are missing and cannot be installed
 */
export async function findKafka(directory: string, print: Print, signal: AbortSignal): Promise<KafkaCommand> {
  await requireJava(print, signal)
  const jars = await fetchJars(print, signal)
  openToUsers(jars)
  const link = join(directory, jarsLink)
  rmSync(link, { force: true })
  symlinkSync(jars, link)
  return (mainClass, ...args) => ({
    file: 'java',
    args: [heap, ...lightCompiler, ...logging, '-cp', `${jarsLink}/*`, mainClass, ...args],
    // In the locale C, Java cannot open a folder whose name has letters beyond ASCII.
    options: { cwd: directory, env: { ...systemEnvironment(), LC_ALL: 'C.UTF-8' } }
  })
}

async function requireJava(print: Print, signal: AbortSignal): Promise<void> {
  if ((await javaVersion(signal)) === undefined) await installPackages(['default-jre-headless'], print, signal)
  const version = (await javaVersion(signal)) ?? 0
  if (version < 17) throw new UnavailableError(`it needs Java 17 or newer, found ${version || 'none'}`)
}

async function javaVersion(signal: AbortSignal): Promise<number | undefined> {
  // Without Java, macOS has a `java` that only prints an error.
  const output = await runTool('java', ['-version'], { signal }).catch(() => '')
  const match = /version "(\d+)/.exec(output)
  return match ? Number(match[1]) : undefined
}

/** The folder of the jars. Its name depends on pom.xml and the checksums, and it is created in one step. */
async function fetchJars(print: Print, signal: AbortSignal): Promise<string> {
  const checksums = readFileSync(join(recipe, 'jars.sha256'), 'utf8')
  const pom = readFileSync(join(recipe, 'pom.xml'))
  const hash = createHash('sha256').update(pom).update(checksums).digest('hex').slice(0, 8)
  const folder = join(root, '.tools', `kafka-${hash}`)
  if (existsSync(folder)) return folder
  if (!(await isInstalled('mvn'))) await installPackages(['maven'], print, signal)
  print('fetching Apache Kafka from Maven Central')
  const draft = `${folder}.${process.pid}`
  mkdirSync(join(root, '.tools'), { recursive: true })
  try {
    // Relative to pom.xml: Maven would interpret characters of an absolute path.
    const goal = [
      'dependency:copy-dependencies',
      `-DoutputDirectory=${relative(recipe, draft)}`,
      `-DincludeScope=runtime`
    ]
    await runTool('mvn', ['--batch-mode', '--quiet', ...goal], { cwd: recipe, signal })
    requireChecksums(draft, checksums)
    renameSync(draft, folder)
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    if (error instanceof UnavailableError) throw error
    if (!existsSync(folder)) throw new UnavailableError(`Maven could not fetch it: ${(error as Error).message}`)
  }
  return folder
}

/** The user of the broker reads the jars, whatever the umask of the user who fetched them. */
function openToUsers(jars: string): void {
  if (!isRoot()) return
  chmodSync(jars, 0o755)
  for (const name of readdirSync(jars)) chmodSync(join(jars, name), 0o644)
}

/**
 * Requires that a folder holds exactly the listed files.
 *
 * @param checksums lines of `sha256sum`
 * @throws {UnavailableError} that names the files that differ
 */
export function requireChecksums(folder: string, checksums: string): void {
  const expected = new Map(
    checksums
      .trim()
      .split('\n')
      .map((line) => line.split('  ') as [string, string])
      .map(([sha256, name]) => [name, sha256])
  )
  const isExpected = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex') === expected.get(name)
  const names = readdirSync(folder)
  const wrong = [
    ...names.filter((name) => !isExpected(name)),
    ...[...expected.keys()].filter((name) => !names.includes(name))
  ]
  if (wrong.length > 0) throw new UnavailableError(`files differ from stack/kafka/jars.sha256: ${wrong.join(', ')}`)
}
