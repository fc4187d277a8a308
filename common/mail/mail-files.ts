/** Reads the emails that user-svc writes as files where `mail.url` is a directory: for `make mail` and the playground. */

import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type ParsedEmail, parseEmail } from './parse-email.ts'

/** An email in a directory. */
export interface StoredEmail extends ParsedEmail {
  /** The name of its file. */
  file: string
  writtenAt: Date
}

/**
 * The newest emails of a directory, the newest first; none if the directory does not exist. A file counts once it has
 * its final name, which ends in `.eml`.
 */
export async function newestEmails(directory: string, limit: number): Promise<StoredEmail[]> {
  const names = await readdir(directory).catch((error) => missing(error, []))
  const written = await Promise.all(names.filter((name) => name.endsWith('.eml')).map((name) => find(directory, name)))
  const newest = written
    .filter((file) => file !== undefined)
    .sort((a, b) => (a.at === b.at ? b.file.localeCompare(a.file) : Number(b.at - a.at)))
    .slice(0, limit)
  const emails = await Promise.all(newest.map(({ file, at }) => read(directory, file, at)))
  return emails.filter((email) => email !== undefined)
}

async function find(directory: string, file: string): Promise<{ file: string; at: bigint } | undefined> {
  const found = await stat(join(directory, file), { bigint: true }).catch((error) => missing(error, undefined))
  return found?.isFile() ? { file, at: found.mtimeNs } : undefined
}

async function read(directory: string, file: string, at: bigint): Promise<StoredEmail | undefined> {
  const source = await readFile(join(directory, file)).catch((error) => missing(error, undefined))
  return source && { file, writtenAt: new Date(Number(at / 1_000_000n)), ...parseEmail(source) }
}

/** @throws every other error */
function missing<T>(error: NodeJS.ErrnoException, value: T): T {
  if (error.code === 'ENOENT') return value
  throw error
}
