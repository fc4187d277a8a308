/** Reads certificates and keys from PEM files, again when the files change. A bad replacement leaves the previous ones in use. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'

/** Paths of PEM files; an empty or missing one is not used. */
export interface PemFiles {
  ca?: string
  cert?: string
  key?: string
  /** Certificate revocation lists. */
  crl?: string
}

/** The contents of the files. */
export type Pem = { [name in keyof PemFiles]: Buffer }

/** A file that cannot be used, by its path and the reason. */
export class PemError extends Error {
  override name = 'PemError'
}

export interface PemSource {
  /** The newest contents that are usable. */
  current(): Pem
  /**
   * Reads the files again. Returns whether their contents changed.
   *
   * @throws {PemError} if a file is unreadable, or the certificate and the key do not belong together; `current()` keeps
   * the previous contents.
   */
  refresh(): boolean
}

/**
 * Reads the files.
 *
 * @throws {PemError}
 */
export function createPemSource(files: PemFiles): PemSource {
  let pem = readPem(files)
  return {
    current: () => pem,
    refresh() {
      const next = readPem(files)
      const isSame = fileKinds.every((kind) => pem[kind]?.equals(next[kind] as Buffer) ?? true)
      pem = isSame ? pem : next
      return !isSame
    }
  }
}

/** Reads the files again; an unusable replacement is ignored. For clients, whose service reports it elsewhere. */
export function refreshIfUsable(source: PemSource): void {
  try {
    source.refresh()
  } catch (error) {
    if (!(error instanceof PemError)) throw error
  }
}

const fileKinds = ['ca', 'cert', 'key', 'crl'] as const

function readPem(files: PemFiles): Pem {
  const pem: Pem = {}
  for (const kind of fileKinds) if (files[kind]) pem[kind] = read(files[kind])
  requireUsable(files, pem)
  return pem
}

function read(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new PemError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

function requireUsable(files: PemFiles, { ca, cert, key, crl }: Pem): void {
  if ((cert === undefined) !== (key === undefined)) {
    throw new PemError(`${files.cert || files.key}: a certificate needs its private key, and a key its certificate`)
  }
  if (ca) parse(files.ca, 'certificate', () => new X509Certificate(ca))
  if (cert && key) {
    const certificate = parse(files.cert, 'certificate', () => new X509Certificate(cert))
    const privateKey = parse(files.key, 'private key without a passphrase', () => createPrivateKey(key))
    if (!certificate.checkPrivateKey(privateKey)) {
      throw new PemError(`${files.cert}: the certificate does not belong to the key ${files.key}`)
    }
  }
  parse(files.crl ?? files.cert ?? files.ca, 'usable PEM file', () => createSecureContext({ ca, cert, key, crl }))
}

function parse<T>(path: string | undefined, kind: string, parsed: () => T): T {
  try {
    return parsed()
  } catch {
    // The error of OpenSSL may contain a part of the file.
    throw new PemError(`${path}: is no ${kind}`)
  }
}

/** The moment at which the certificate stops to be valid. */
export function expiresAt({ cert, ca }: Pem): Date | undefined {
  const certificate = cert ?? ca
  return certificate && new X509Certificate(certificate).validToDate
}
