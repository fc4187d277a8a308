/**
 * The token in an email: the id of its row in `emails`, and an HMAC over the row. The token is not stored: the sender
 * computes it when it sends the email, and a use of the token computes it again.
 */

import { createHmac, timingSafeEqual } from 'node:crypto'
import { parse as uuidBytes, stringify as uuidText } from 'uuid'
import type { emails } from '../schema.ts'

/** The columns that the HMAC covers. */
export type EmailTokenRow = Pick<
  typeof emails.$inferSelect,
  'id' | 'userId' | 'purpose' | 'recipient' | 'sessionEpoch' | 'expiresAt'
>

const idBytes = 16
const tokenPattern = /^[A-Za-z0-9_-]{64}$/

/**
 * The token of a row: 64 characters, base64url.
 *
 * @param keys `name:base64`, the newest first; the newest signs
 */
export function emailToken(row: EmailTokenRow, [newest]: string[]): string {
  if (newest === undefined) throw new TypeError('mail.keys is empty')
  return Buffer.concat([uuidBytes(row.id), macOf(row, newest)]).toString('base64url')
}

/** The id of the row that a text in the form of a token names, or nothing. */
export function emailIdOf(token: string): string | undefined {
  if (!tokenPattern.test(token)) return undefined
  const bytes = Buffer.from(token, 'base64url').subarray(0, idBytes)
  try {
    return uuidText(bytes)
  } catch {
    // The 16 bytes are no UUID.
    return undefined
  }
}

/** Whether a token in the right form is that of a row, by any of the keys. Takes the same time for every wrong token. */
export function isTokenOf(row: EmailTokenRow, token: string, keys: string[]): boolean {
  const presented = Buffer.from(token, 'base64url').subarray(idBytes)
  return keys.map((key) => timingSafeEqual(macOf(row, key), presented)).includes(true)
}

function macOf({ id, userId, purpose, recipient, sessionEpoch, expiresAt }: EmailTokenRow, key: string): Buffer {
  const fields = ['email-token', purpose, id, userId, recipient, String(sessionEpoch), expiresAt.toISOString()]
  // JSON keeps the bounds of the fields.
  return createHmac('sha256', keyBytes(key)).update(JSON.stringify(fields)).digest()
}

/** The bytes of a configured key, `name:base64`. */
export function keyBytes(key: string): Buffer {
  return Buffer.from(key.slice(key.indexOf(':') + 1), 'base64')
}
