/** Directories that the configuration names: made if they are missing, and refused at start if they can never be used. */

import { accessSync, constants, mkdirSync } from 'node:fs'
import { ConfigError } from './load.ts'

/**
 * Makes a directory below one that a configuration key names.
 *
 * @throws {ConfigError} if it cannot be written to. That the disk is full is no mistake in the configuration.
 */
export function makeWritable(key: string, configured: string, directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    accessSync(directory, constants.W_OK | constants.X_OK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (isFull(error)) return
    throw new ConfigError(`${key}: ${configured} cannot be used (${code}); takes a directory that can be written to`)
  }
}

/** Whether an error says that there is no room on the disk. */
export function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')
}
