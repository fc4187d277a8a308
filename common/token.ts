/** The bearer token of a session: `ses_` and base64url of user id, secret and checksum; garbage is told without asking anyone. */

import { createHash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

// user id 16 bytes, secret 32 bytes, CRC-32 of both 4 bytes: 52 bytes are 70 characters.
const secretStart = 16
const checksumStart = 48
const tokenPattern = /^ses_[A-Za-z0-9_-]{70}$/

/** What a token says about itself, and the digest under which its session is stored. */
export interface ParsedToken {
  /** The account's id: a UUID in its canonical form. */
  userId: string
  /** SHA-256 of the secret, base64url: all that is ever stored of a token. */
  hash: string
}

/** Makes a token for a user from 256 random bits (OWASP ASVS 7.2.3). */
export function createToken(userId: string): { token: string; hash: string } {
  const bytes = Buffer.alloc(checksumStart + 4)
  uuidBytes(userId).copy(bytes)
  const secret = randomBytes(checksumStart - secretStart)
  secret.copy(bytes, secretStart)
  bytes.writeUInt32BE(crc32(bytes.subarray(0, checksumStart)), checksumStart)
  return { token: `ses_${bytes.toString('base64url')}`, hash: digest(secret) }
}

/** Reads a token, or returns nothing if it is none: wrong form, wrong checksum, or not the one canonical encoding. */
export function parseToken(token: string): ParsedToken | undefined {
  if (!tokenPattern.test(token)) return undefined
  const encoded = token.slice(4)
  const bytes = Buffer.from(encoded, 'base64url')
  if (bytes.toString('base64url') !== encoded) return undefined
  if (crc32(bytes.subarray(0, checksumStart)) !== bytes.readUInt32BE(checksumStart)) return undefined
  return {
    userId: uuidText(bytes.subarray(0, secretStart)),
    hash: digest(bytes.subarray(secretStart, checksumStart))
  }
}

/** The public handle of a session: the first 128 bits of the hash under which it is stored. */
export function sessionId(hash: string): string {
  return Buffer.from(hash, 'base64url').subarray(0, 16).toString('base64url')
}

/** The 16 bytes of a UUID. */
export function uuidBytes(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex')
}

function uuidText(bytes: Buffer): string {
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function digest(secret: Buffer): string {
  return createHash('sha256').update(secret).digest('base64url')
}
