/** Reads certificates and keys from PEM files, again when the files change. A bad replacement leaves the previous ones in use. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { issuerOf, nextUpdateOf } from './revocation-list.ts'

/** How often a process reads the files again. */
export const refreshMs = 2000

/** Paths of PEM files; an empty or missing one is not used. */
export interface PemFiles {
  ca?: string
  cert?: string
  key?: string
  /** Certificate revocation lists, one of each CA. */
  crl?: string
}

/** The contents of the files. */
export type Pem = { [name in keyof PemFiles]: Buffer }

/** A file that cannot be used, by its name and the reason. */
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

/** The name of a file in error messages, such as its configuration key. */
export type NameOf = (kind: keyof PemFiles) => string

/**
 * Reads the files.
 *
 * @throws {PemError}
 */
export function createPemSource(files: PemFiles, nameOf: NameOf = (kind) => kind): PemSource {
  let pem = readPem(files, nameOf)
  return {
    current: () => pem,
    refresh() {
      const next = readPem(files, nameOf)
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

function readPem(files: PemFiles, nameOf: NameOf): Pem {
  const pem: Pem = {}
  for (const kind of fileKinds) if (files[kind]) pem[kind] = read(files[kind], nameOf(kind))
  requireUsable(pem, nameOf)
  return pem
}

function read(path: string, name: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new PemError(`${name}: cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

function requireUsable({ ca, cert, key, crl }: Pem, nameOf: NameOf): void {
  if (cert && !key) throw new PemError(`${nameOf('key')}: is missing; takes the private key of ${nameOf('cert')}`)
  if (key && !cert) throw new PemError(`${nameOf('cert')}: is missing; takes the certificate of ${nameOf('key')}`)
  if (ca) requireBlocks(nameOf('ca'), 'certificate', ca, (block) => new X509Certificate(block))
  if (crl) requireLists(nameOf('crl'), crl)
  if (!cert || !key) return
  const certificate = parse(nameOf('cert'), 'certificate', () => new X509Certificate(cert))
  const privateKey = parse(nameOf('key'), 'private key without a passphrase', () => createPrivateKey(key))
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new PemError(`${nameOf('cert')}: does not belong to the key in ${nameOf('key')}`)
  }
  parse(nameOf('cert'), 'certificate with a usable chain', () => createSecureContext({ cert, key }))
}

function requireLists(name: string, crl: Buffer): void {
  const issuers = requireBlocks(name, 'list of revoked certificates', crl, (block) => {
    createSecureContext({ crl: block })
    nextUpdateOf(block)
    return issuerOf(block)
  })
  // OpenSSL uses one of them, so that a certificate of the other one is not revoked.
  if (new Set(issuers).size < issuers.length) {
    throw new PemError(`${name}: has two lists of one issuer; takes one list of revoked certificates for each CA`)
  }
}

function requireBlocks<T>(name: string, kind: string, pem: Buffer, parsed: (block: string) => T): T[] {
  const found = blocksOf(pem)
  if (found.length === 0) throw new PemError(`${name}: is no ${kind} in PEM format`)
  return found.map((block, index) =>
    parse(index === 0 ? name : `${name}: block ${index + 1}`, kind, () => parsed(block))
  )
}

function parse<T>(name: string, kind: string, parsed: () => T): T {
  try {
    return parsed()
  } catch {
    // The error of OpenSSL may contain a part of the file.
    throw new PemError(`${name}: is no ${kind} in PEM format`)
  }
}

/** The blocks of a file, each with the text before it: so a damaged block is not skipped and cannot be parsed. */
function blocksOf(pem: Buffer): string[] {
  const parts = pem.toString('latin1').split(/(?<=-----END [^-\r\n]*-----)/)
  return parts.filter((part) => /-----(?:BEGIN|END) /.test(part))
}

/** The options of a secure context. Node.js reads the first list of a file only, but each one of an array. */
export function secureContextOptions({ crl, ...pem }: Pem): SecureContextOptions {
  return { ...pem, ...(crl && { crl: blocksOf(crl) }) }
}

/**
 * When each file expires: of a chain, its own certificate; of several CAs the last one, because a new CA is added beside the
 * old one; of several lists the first one, because an expired list rejects all certificates of its CA.
 */
export function expiries({ cert, ca, crl }: Pem): { file: 'cert' | 'ca' | 'crl'; expiresAt: Date }[] {
  // A list without a next update does not expire.
  const firstUpdate = crl && earliest(blocksOf(crl).flatMap((pem) => nextUpdateOf(pem) ?? []))
  return [
    ...(cert ? [{ file: 'cert' as const, expiresAt: new X509Certificate(cert).validToDate }] : []),
    ...(ca
      ? [{ file: 'ca' as const, expiresAt: latest(blocksOf(ca).map((pem) => new X509Certificate(pem).validToDate)) }]
      : []),
    ...(firstUpdate ? [{ file: 'crl' as const, expiresAt: firstUpdate }] : [])
  ]
}

const earliest = (dates: Date[]) => (dates.length === 0 ? undefined : new Date(Math.min(...dates.map(Number))))
const latest = (dates: Date[]) => new Date(Math.max(...dates.map(Number)))
