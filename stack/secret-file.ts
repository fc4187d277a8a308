/** Secrets that are generated once and stored in a file that only its owner can read. */

import { randomBytes } from 'node:crypto'
import { chmodSync, closeSync, fstatSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { StartError } from './start-error.ts'

// A generated secret has 43.
const minLength = 32

/**
 * The secret in a file; if there is none, a new one of 32 random bytes is stored there.
 *
 * @throws {StartError} if other users can read the file, or its secret has fewer than 32 characters
 */
export function keptSecret(path: string): string {
  const kept = readSecret(path)
  if (kept === undefined) return newSecret(path)
  if (kept.length >= minLength) return kept
  throw new StartError(
    `${path}: has ${kept.length} characters, takes ${minLength} or more; restore the generated secret`
  )
}

/** As `keptSecret`, but replaces a short secret, which an earlier configuration has left. */
export function keptToken(path: string): string {
  const kept = readSecret(path)
  return kept !== undefined && kept.length >= minLength ? kept : newSecret(path)
}

/** @returns undefined if the file does not exist or is empty */
function readSecret(path: string): string | undefined {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const mode = fstatSync(file).mode & 0o777
    const secret = readFileSync(file, 'utf8').trim()
    if (secret === '') return undefined
    if ((mode & 0o077) === 0) return secret
    throw new StartError(
      `${path}: other users can read it (mode ${mode.toString(8)}); run chmod 600, and replace the secret if they may have`
    )
  } finally {
    closeSync(file)
  }
}

function newSecret(path: string): string {
  const made = randomBytes(32).toString('base64url')
  keepSecret(path, made)
  return made
}

/** Writes a secret to a file, atomically. */
export function keepSecret(path: string, secret: string): void {
  mkdirSync(dirname(path), { recursive: true })
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, `${secret}\n`, { mode: 0o600 })
  chmodSync(draft, 0o600)
  renameSync(draft, path)
}
