/** E-mail addresses: which are accepted, and the one form in which they are stored and compared. */

import { domainToASCII } from 'node:url'

const maxLength = 254
// RFC 5321's dot-atom. Letters beyond ASCII are left out: they have look-alikes and several spellings.
const localPart = /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/
const domainName = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$/

/** What an address must be, for the error message. */
export const emailRule = 'must be an e-mail address such as ada@example.org, ASCII before the @, at most 254 characters'

/**
 * The address in lower case with its domain in ASCII, or nothing if it is none. Never trimmed:
 * what stands around an address is not part of it.
 */
export function normalizeEmail(written: string): string | undefined {
  if (written.length > maxLength || !written.isWellFormed()) return undefined
  const at = written.lastIndexOf('@')
  const local = written.slice(0, at)
  const domain = written.slice(at + 1)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused here
  if (at < 1 || local.length > 64 || /[\s\x00-\x1f\x7f%/?#:\\]/.test(domain)) return undefined
  const ascii = domainToASCII(domain).toLowerCase()
  const address = `${local.toLowerCase()}@${ascii}`
  // Lower-casing can turn a letter beyond ASCII into one within it (the Kelvin sign): look at both forms.
  const isAscii = /^[\x21-\x7e]+$/.test(local)
  return isAscii && localPart.test(local.toLowerCase()) && domainName.test(ascii) && address.length <= maxLength
    ? address
    : undefined
}
