/** The files that `make run` writes and an engine reads: beside the data, because root never writes into a folder of another user. */

import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { isRoot, type SystemUser } from '../system-user.ts'

/** Creates the folder for an engine with this data folder; only the current user can enter it. @returns its path */
export function createSettingsFolder(directory: string): string {
  const folder = `${directory}-settings`
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  permit(folder, 0o700, undefined)
  return folder
}

/** Lets the user of an engine enter the folder. */
export function openSettingsFolder(folder: string, reader: SystemUser | undefined): void {
  permit(folder, reader ? 0o750 : 0o700, reader)
}

/** Replaces a file in the folder, which the user of an engine can read. */
export function writeSettingsFile(path: string, content: string, reader: SystemUser | undefined): void {
  const draft = `${path}.new`
  rmSync(draft, { force: true })
  writeFileSync(draft, content, { mode: 0o600, flag: 'wx' })
  permit(draft, reader ? 0o640 : 0o600, reader)
  renameSync(draft, path)
}

function permit(path: string, mode: number, reader: SystemUser | undefined): void {
  if (isRoot()) chownSync(path, 0, reader?.gid ?? 0)
  chmodSync(path, mode)
}
