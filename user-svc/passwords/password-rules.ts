/** The rules for passwords: the form in which they are hashed, and the requirements for new ones. */

import { isSimplePassword, repeatedPart } from '#common/config/simple-secrets.ts'
import type { FieldCode } from '#common/errors/connect-errors.ts'
import type { FieldRule } from '#common/errors/field-rules.ts'
import type { BreachList } from './breach-list.ts'
import { isCommonPassword } from './common-passwords.ts'
import { consistsOf, wordsOf, wordsOfAddress } from './context-words.ts'
import { foldPassword } from './folded-password.ts'

export const serviceName = 'auth-backend'

// In code points.
const maxLength = 256

/** The password in the form that is hashed (NFC), or nothing if no account can have it. */
export function normalizePassword(written: string): string | undefined {
  if (!written.isWellFormed() || written.includes('\0')) return undefined
  const password = written.normalize('NFC')
  return [...password].length <= maxLength ? password : undefined
}

/** The rule that a new password has broken which is the current one. */
export function unchangedPassword(field: string): FieldRule<string> {
  return { field, value: undefined, description: 'must differ from the current one', code: 'unchanged' }
}

export interface PasswordRuleOptions {
  /** In code points. */
  minLength: number
  /** Words of the service, beside its name. */
  serviceWords: readonly string[]
  breachList?: BreachList | undefined
}

interface Violation {
  description: string
  code: FieldCode
}

export type PasswordRules = ReturnType<typeof createPasswordRules>

export function createPasswordRules({ minLength, serviceWords, breachList }: PasswordRuleOptions) {
  const words = [serviceName, ...serviceWords].flatMap(wordsOf)

  function lengthViolation(written: string): Violation | undefined {
    const password = normalizePassword(written)
    const lengths = `${minLength} to ${maxLength} characters`
    if (password === undefined) {
      const isText = written.isWellFormed() && !written.includes('\0')
      const description = `must be ${lengths} of well-formed Unicode without NUL`
      return { description, code: isText ? 'too_long' : 'invalid' }
    }
    const isLong = [...password].length >= minLength
    return isLong ? undefined : { description: `is too short: ${lengths} are accepted`, code: 'too_short' }
  }

  /** @param email may be empty while it is unknown */
  async function violationOf(written: string, email: string): Promise<Violation | undefined> {
    const length = lengthViolation(written)
    if (length) return length
    const folded = foldPassword(written)
    if (isCommonPassword(folded) || isCommonPassword(repeatedPart(folded) ?? folded)) {
      return { description: 'is one of the most common: choose another', code: 'too_common' }
    }
    if (isSimplePassword(folded)) {
      return { description: 'consists of repeats and sequences: choose another', code: 'too_simple' }
    }
    if (consistsOf(wordsOfAddress(email), folded)) {
      return { description: 'must not consist of the e-mail address', code: 'same_as_address' }
    }
    if (consistsOf([...words, ...wordsOfAddress(email)], folded)) {
      return { description: 'must not consist of the name of the service', code: 'service_name' }
    }
    if (await breachList?.contains(written.normalize('NFC'))) {
      return { description: 'is known from a breach of another service: choose another', code: 'breached' }
    }
    return undefined
  }

  return {
    /**
     * The rule for a field with a new password of the account that has an address; `email` may be empty while it is unknown.
     *
     * @throws ConnectError `unavailable` if the list of breached passwords cannot be read and is required
     */
    async newPassword(field: string, written: string, email: string): Promise<FieldRule<string>> {
      const violation = await violationOf(written, email)
      return violation === undefined
        ? { field, value: written, description: '' }
        : { field, value: undefined, ...violation }
    }
  }
}
