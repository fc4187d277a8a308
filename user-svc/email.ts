/** The rules for e-mail addresses, and the normal form in which they are stored and compared. */

import { domainToASCII } from 'node:url'

const maxLength = 254
// RFC 5321's dot-atom, ASCII only: other letters have look-alikes and several spellings.
const localPart = /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/
const domainName = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$/

/** The description of the rules in error messages. */
export const emailRule = 'must be an e-mail address such as ada@example.org, ASCII before the @, at most 254 characters'

/** The address in lower case with its domain in ASCII, or nothing if it breaks a rule. Whitespace is not trimmed. */
export function normalizeEmail(written: string): string | undefined {
  if (written.length > maxLength || !written.isWellFormed()) return undefined
  const at = written.lastIndexOf('@')
  const local = written.slice(0, at)
  const domain = written.slice(at + 1)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: this rejects control characters
  if (at < 1 || local.length > 64 || /[\s\x00-\x1f\x7f%/?#:\\]/.test(domain)) return undefined
  const ascii = domainToASCII(domain).toLowerCase()
  const address = `${local.toLowerCase()}@${ascii}`
  // Lower case turns some other letters into ASCII (the Kelvin sign), so both forms are checked.
  const isAscii = /^[\x21-\x7e]+$/.test(local)
  return isAscii && localPart.test(local.toLowerCase()) && domainName.test(ascii) && address.length <= maxLength
    ? address
    : undefined
}
