/** The stored form of a password: parsed before use, so that a damaged, planted or too costly hash is never computed. */

import { verify as bcryptVerify } from '@node-rs/bcrypt'
import { parseImportedHash } from './imported-hashes.ts'

/** The stored hash of an account without a password. */
export const noPassword = 'none'

// A planted hash of cost 18 would occupy a thread for 13 seconds.
const defaultMaxCost = 14
// OWASP's highest recommendation for scrypt, and the default of Kratos for argon2id.
const maxMemoryBytes = 2 ** 27
const maxLength = 512

/** A stored hash cannot be used: it is damaged or planted, or its pepper is no longer configured. */
export class UnusableHashError extends TypeError {
  override name = 'UnusableHashError'
}

/** The form is known, but the computation would take too much time or memory. */
export class TooCostlyHashError extends UnusableHashError {
  override name = 'TooCostlyHashError'
}

export interface StoredHash {
  /** `bcrypt`, `argon2id`, `argon2i`, `argon2d`, `scrypt` or `pbkdf2`. */
  scheme: string
  /** The key of the HMAC under a hash of this product; undefined for one of another system. */
  pepper: string | undefined
  /** The work, in rounds of bcrypt: 2 to the power of its cost. */
  rounds: number
  /** @param input the HMAC of the password if there is a pepper, otherwise the password */
  verify(input: string): Promise<boolean>
}

// `hs384:<pepper>:<bcrypt>`: bcrypt over the base64 of an HMAC-SHA-384. These 64 bytes stay below bcrypt's limit of 72
// (OWASP Password Storage Cheat Sheet). The pepper `-` is a fixed label instead of a secret.
const ownHash = /^hs384:([a-z0-9]{1,16}|-):(\$2b\$(\d\d)\$[./A-Za-z0-9]{53})$/
// A hash of another system: bcrypt over the password itself.
const plainHash = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/

function parse(stored: string): (StoredHash & { memoryBytes?: number }) | undefined {
  if (stored.length > maxLength) return undefined
  const own = ownHash.exec(stored)
  if (own) {
    const [, pepper, bcrypt = '', cost] = own
    return { scheme: 'bcrypt', pepper, rounds: roundsOf(cost), verify: (input) => bcryptVerify(input, bcrypt) }
  }
  const plain = plainHash.exec(stored)
  if (plain) {
    // Plain bcrypt ignores all after 72 bytes, so a longer password with the same start would match.
    const verify = async (input: string) => (await bcryptVerify(input, stored)) && Buffer.byteLength(input) <= 72
    return { scheme: 'bcrypt', pepper: undefined, rounds: roundsOf(plain[1]), verify }
  }
  const imported = parseImportedHash(stored)
  return imported && { ...imported, pepper: undefined }
}

/** Zero for a cost that bcrypt does not have. */
function roundsOf(cost: string | undefined): number {
  return Number(cost) < 4 || Number(cost) > 31 ? 0 : 2 ** Number(cost)
}

/**
 * @param maxCost the highest accepted bcrypt cost, or work of another scheme that takes as long
 * @throws {UnusableHashError} if the hash must not be computed
 */
export function parseStoredHash(stored: string, maxCost = defaultMaxCost): StoredHash {
  const parsed = parse(stored)
  if (parsed === undefined || parsed.rounds === 0) throw new UnusableHashError('the stored hash is malformed')
  if (parsed.rounds > 2 ** maxCost || (parsed.memoryBytes ?? 0) > maxMemoryBytes) {
    throw new TooCostlyHashError('the stored hash is too costly')
  }
  return parsed
}

/** The scheme of a stored hash, `none` or `unknown`. */
export function passwordScheme(stored: string): string {
  return stored === noPassword ? noPassword : (parse(stored)?.scheme ?? 'unknown')
}
