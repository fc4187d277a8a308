/** What Kafka needs to run without Docker: Java, and the broker's jars from Maven Central. */

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Command } from '../supervised.ts'
import { isInstalled, runTool } from '../tool.ts'
import { installPackages } from './debian-package.ts'
import { Unavailable } from './engine.ts'

const root = join(import.meta.dirname, '..', '..')
const recipe = join(root, 'stack', 'kafka')

// To standard error, with times, and without the pages of settings that every client in the broker prints.
const logging = [
  'showDateTime=true',
  'dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS',
  'log.org.apache.kafka.common.config=warn'
].map((setting) => `-Dorg.slf4j.simpleLogger.${setting}`)

// For a broker that shares its machine with all that it serves, the quick compiler is enough: the thorough one would take
// as much of the processor as the broker itself for as long as little is asked of it.
export const heap = '-Xmx256m'
export const lightCompiler = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']

const jarsLink = 'jars'

type Say = (line: string) => void

/** How a class of Kafka's is run in a folder. */
export type KafkaCommand = (
  mainClass: string,
  ...args: string[]
) => Required<Pick<Command, 'file' | 'args' | 'options'>>

/**
 * Finds what runs Kafka's classes in a folder, which exists. Neither its path nor that of the jars is on a command line or
 * in a file of settings: a comma separates folders of logs, a colon entries of the class path, and a backslash escapes.
 *
 * @throws {Unavailable} if Java or the jars cannot be had
 */
export async function findKafka(directory: string, say: Say, signal: AbortSignal): Promise<KafkaCommand> {
  await requireJava(say, signal)
  const jars = await fetchJars(say, signal)
  const link = join(directory, jarsLink)
  rmSync(link, { force: true })
  symlinkSync(jars, link)
  return (mainClass, ...args) => ({
    file: 'java',
    args: [heap, ...lightCompiler, ...logging, '-cp', `${jarsLink}/*`, mainClass, ...args],
    // In the locale C, Java cannot name a folder that has letters beyond ASCII.
    options: { cwd: directory, env: { ...process.env, LC_ALL: 'C.UTF-8' } }
  })
}

async function requireJava(say: Say, signal: AbortSignal): Promise<void> {
  if ((await javaVersion(signal)) === undefined) await installPackages(['default-jre-headless'], say, signal)
  const version = (await javaVersion(signal)) ?? 0
  if (version < 17) throw new Unavailable(`it needs Java 17 or newer, found ${version || 'none'}`)
}

async function javaVersion(signal: AbortSignal): Promise<number | undefined> {
  // Where no Java is installed, macOS has a `java` that only says so.
  const said = await runTool('java', ['-version'], { signal }).catch(() => '')
  const match = /version "(\d+)/.exec(said)
  return match ? Number(match[1]) : undefined
}

/** The folder of the jars; its name changes with the recipe, and it exists only when it is complete. */
async function fetchJars(say: Say, signal: AbortSignal): Promise<string> {
  const pom = join(recipe, 'pom.xml')
  const hash = createHash('sha256').update(readFileSync(pom)).digest('hex').slice(0, 8)
  const folder = join(root, '.tools', `kafka-${hash}`)
  if (existsSync(folder)) return folder
  if (!(await isInstalled('mvn'))) await installPackages(['maven'], say, signal)
  say('fetching Apache Kafka from Maven Central')
  const draft = `${folder}.${process.pid}`
  mkdirSync(join(root, '.tools'), { recursive: true })
  try {
    // Relative to the pom: the path of the project may hold anything.
    const goal = [
      'dependency:copy-dependencies',
      `-DoutputDirectory=${relative(recipe, draft)}`,
      `-DincludeScope=runtime`
    ]
    await runTool('mvn', ['--batch-mode', '--quiet', ...goal], { cwd: recipe, signal })
    renameSync(draft, folder)
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    if (!existsSync(folder)) throw new Unavailable(`Maven could not fetch it: ${(error as Error).message}`)
  }
  return folder
}
