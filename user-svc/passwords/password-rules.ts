/** The rules for passwords: the form in which they are hashed, and the requirements for new ones. */

import type { FieldRule } from '#common/errors/field-rules.ts'
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

/** The rule for a field with a new password of the account that has an address; `email` may be empty while it is unknown. */
export function newPasswordRule(
  { field, written }: { field: string; written: string },
  email: string,
  minLength: number
): FieldRule<string> {
  const violation = violationOf(written, email, minLength)
  return violation === undefined
    ? { field, value: written, description: '' }
    : { field, value: undefined, ...violation }
}

/** The rule that a new password has broken which is the current one. */
export function unchangedPassword(field: string): FieldRule<string> {
  return { field, value: undefined, description: 'must differ from the current one', code: 'unchanged' }
}

function violationOf(
  written: string,
  email: string,
  minLength: number
): Pick<FieldRule, 'description' | 'code'> | undefined {
  const password = normalizePassword(written)
  const lengths = `${minLength} to ${maxLength} characters`
  if (password === undefined) {
    const isText = written.isWellFormed() && !written.includes('\0')
    return {
      description: `must be ${lengths} of well-formed Unicode without NUL`,
      code: isText ? 'too_long' : 'invalid'
    }
  }
  if ([...password].length < minLength) {
    return { description: `is too short: ${lengths} are accepted`, code: 'too_short' }
  }
  const lower = password.toLowerCase()
  if (isCommonPassword(lower) || lower === serviceName) {
    return { description: 'is one of the most common: choose another', code: 'too_common' }
  }
  if (lower === email || lower === email.split('@')[0]) {
    return { description: 'must not be the e-mail address', code: 'same_as_address' }
  }
  return undefined
}
