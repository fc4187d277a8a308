/** The rules for passwords: the form in which they are hashed, and the requirements for new ones. */

import { isCommonPassword } from './common-passwords.ts'

export const serviceName = 'auth-backend'

// In code points.
const maxLength = 256

/** The password in the form that is hashed (NFC), or nothing if no account can have it. */
export function normalizePassword(written: string): string | undefined {
  if (!written.isWellFormed() || written.includes('\0')) return undefined
  const password = written.normalize('NFC')
  return [...password].length <= maxLength ? password : undefined
}

/** The requirement that a password for a new account does not meet, or nothing. */
export function passwordViolation(written: string, email: string, minLength: number): string | undefined {
  const password = normalizePassword(written)
  const lengths = `${minLength} to ${maxLength} characters`
  if (password === undefined) return `must be ${lengths} of well-formed Unicode without NUL`
  if ([...password].length < minLength) return `is too short: ${lengths} are accepted`
  const lower = password.toLowerCase()
  if (isCommonPassword(lower) || lower === serviceName) return 'is one of the most common: choose another'
  if (lower === email || lower === email.split('@')[0]) return 'must not be the e-mail address'
  return undefined
}
