/** Directories of the configuration: created if they are missing, and rejected at start if they are not writable. */

import { accessSync, constants, mkdirSync } from 'node:fs'
import { ConfigError } from './load.ts'

/**
 * Creates a directory below the one of a configuration key.
 *
 * @throws {ConfigError} if it is not writable. A full disk is not a mistake in the configuration.
 */
export function makeWritable(key: string, configured: string, directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    accessSync(directory, constants.W_OK | constants.X_OK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (isFull(error)) return
    throw new ConfigError(`${key}: ${configured} cannot be used (${code}); takes a writable directory`)
  }
}

/** Whether an error means that the disk is full. */
export function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')
}
