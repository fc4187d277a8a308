/**
 * The bearer token of a session: `ses_` and base64url of user id, secret and checksum. The checksum lets a service reject
 * a malformed token without a call. (common/session/ is the only domain code in common/: three services use it.)
 */

import { hash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

// user id 16 bytes, secret 32 bytes, CRC-32 of both 4 bytes: 52 bytes are 70 characters. The last four bits of the last
// character are unused and must be zero, so that each token has one encoding.
const secretStart = 16
const checksumStart = 48
const tokenPattern = /^ses_[A-Za-z0-9_-]{69}[AQgw]$/

/** The parts of a token that services use. */
export interface ParsedToken {
  /** The account's id: a UUID in its canonical form. */
  userId: string
  /** SHA-256 of the secret, base64url. Redis stores it instead of the token. */
  hash: string
}

/** Creates a token of 256 random bits for a user (OWASP ASVS 7.2.3). */
export function createToken(userId: string): { token: string; hash: string } {
  const bytes = Buffer.alloc(checksumStart + 4)
  uuidBytes(userId).copy(bytes)
  const secret = randomBytes(checksumStart - secretStart)
  secret.copy(bytes, secretStart)
  bytes.writeUInt32BE(crc32(bytes.subarray(0, checksumStart)), checksumStart)
  return { token: `ses_${bytes.toString('base64url')}`, hash: digest(secret) }
}

/** Parses a token; returns undefined if its form, its checksum or its encoding is wrong. */
export function parseToken(token: string): ParsedToken | undefined {
  const bytes = tokenBytes(token)
  return bytes && { userId: uuidText(bytes), hash: digest(bytes.subarray(secretStart, checksumStart)) }
}

/** The account in a token, or undefined if the token is malformed. The session need not be valid. */
export function tokenUserId(token: string): string | undefined {
  const bytes = tokenBytes(token)
  return bytes && uuidText(bytes)
}

function tokenBytes(token: string): Buffer | undefined {
  if (!tokenPattern.test(token)) return undefined
  const bytes = Buffer.from(token.slice(4), 'base64url')
  return crc32(bytes.subarray(0, checksumStart)) === bytes.readUInt32BE(checksumStart) ? bytes : undefined
}

/** The public id of a session: the first 128 bits of the hash in Redis. */
export function sessionId(hash: string): string {
  return Buffer.from(hash, 'base64url').subarray(0, 16).toString('base64url')
}

/** Whether a text has the form of a session's id. */
export const isSessionId = (text: string): boolean => /^[\w-]{22}$/.test(text)

/** The 16 bytes of a UUID. */
export function uuidBytes(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex')
}

/** The canonical text of the UUID in the first 16 bytes. */
function uuidText(bytes: Buffer): string {
  const hex = bytes.toString('hex', 0, secretStart)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

function digest(secret: Buffer): string {
  return hash('sha256', secret, 'base64url')
}
