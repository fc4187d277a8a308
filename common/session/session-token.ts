/** The bearer token of a session: `ses_` and base64url of user id, secret and checksum; garbage is told without asking anyone. */

import { hash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

// user id 16 bytes, secret 32 bytes, CRC-32 of both 4 bytes: 52 bytes are 70 characters, of which the last
// has four bits to spare. They are zero, so that no token can be written in two ways.
const secretStart = 16
const checksumStart = 48
const tokenPattern = /^ses_[A-Za-z0-9_-]{69}[AQgw]$/

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
  const bytes = tokenBytes(token)
  return bytes && { userId: uuidText(bytes), hash: digest(bytes.subarray(secretStart, checksumStart)) }
}

/** The account that a token names, or nothing if it is no token. Says nothing about whether the session is valid. */
export function tokenUserId(token: string): string | undefined {
  const bytes = tokenBytes(token)
  return bytes && uuidText(bytes)
}

function tokenBytes(token: string): Buffer | undefined {
  if (!tokenPattern.test(token)) return undefined
  const bytes = Buffer.from(token.slice(4), 'base64url')
  return crc32(bytes.subarray(0, checksumStart)) === bytes.readUInt32BE(checksumStart) ? bytes : undefined
}

/** The public handle of a session: the first 128 bits of the hash under which it is stored. */
export function sessionId(hash: string): string {
  return Buffer.from(hash, 'base64url').subarray(0, 16).toString('base64url')
}

/** The 16 bytes of a UUID. */
export function uuidBytes(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex')
}

/** The canonical text of the UUID at the beginning of some bytes. */
function uuidText(bytes: Buffer): string {
  const hex = bytes.toString('hex', 0, secretStart)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

function digest(secret: Buffer): string {
  return hash('sha256', secret, 'base64url')
}
