/**
 * An offline list of breached passwords in the format of Have I Been Pwned's downloader: for each prefix of five
 * hexadecimal digits of a SHA-1, a file `<prefix>.txt` with lines `<remaining digits>:<count>`.
 */

import { createHash } from 'node:crypto'
import { accessSync, constants, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '#common/config/load.ts'
import { dependencyDown } from '#common/errors/connect-errors.ts'
import type { Logger } from '#common/logging/logger.ts'

const prefixLength = 5
// A count of zero is padding.
const line = /^([0-9A-Fa-f]{35}):(?!0+\r?$)\d+\r?$/

export interface BreachListOptions {
  directory: string
  /** Effect of a directory or file that is missing. */
  whenMissing: 'refuse' | 'accept'
}

export interface BreachList {
  /** @throws ConnectError `unavailable` if the file is missing and the list is required */
  contains(password: string): Promise<boolean>
}

const fileOf = (directory: string, prefix: string) => join(directory, `${prefix}.txt`)

/**
 * Checks the directory at start, by its first and last file.
 *
 * @throws {ConfigError} if the list is required and cannot be read
 */
export function requireBreachList({ directory, whenMissing }: BreachListOptions): void {
  if (directory === '' || whenMissing === 'accept') return
  for (const prefix of ['00000', 'FFFFF']) {
    const problem = problemOf(fileOf(directory, prefix))
    if (problem === undefined) continue
    throw new ConfigError(
      `userSvc.password.breachList.directory: ${directory} ${problem}; takes a directory with the files 00000.txt to FFFFF.txt (userSvc.password.breachList.whenMissing: accept ignores a missing list)`
    )
  }
}

function problemOf(file: string): string | undefined {
  try {
    accessSync(file, constants.R_OK)
    return readFileSync(file, 'latin1')
      .split('\n')
      .some((each) => line.test(each))
      ? undefined
      : 'has a file without lines of the format'
  } catch (error) {
    return `has a file that cannot be read (${(error as NodeJS.ErrnoException).code})`
  }
}

/** @returns undefined if no directory is configured */
export function openBreachList(
  { directory, whenMissing }: BreachListOptions,
  log: Pick<Logger, 'warn'>
): BreachList | undefined {
  if (directory === '') return undefined
  let isReported = false
  return {
    async contains(password) {
      const hash = createHash('sha1').update(password, 'utf8').digest('hex').toUpperCase()
      const [prefix, suffix] = [hash.slice(0, prefixLength), hash.slice(prefixLength)]
      try {
        return hasLine(await readFile(fileOf(directory, prefix), 'latin1'), suffix)
      } catch (error) {
        // Without the path: it names a part of the password's hash.
        const reason = (error as NodeJS.ErrnoException).code ?? 'unknown'
        if (!isReported)
          log.warn({ event: 'breach_list_missing', reason }, 'failed to read the list of breached passwords')
        isReported = true
        if (whenMissing === 'accept') return false
        throw dependencyDown()
      }
    }
  }
}

const hasLine = (content: string, suffix: string) =>
  content.split('\n').some((each) => line.exec(each)?.[1]?.toUpperCase() === suffix)
