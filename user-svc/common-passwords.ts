/** The passwords that everybody tries first; from the list that zxcvbn ships, ordered by how common they are. */

import passwords from '@zxcvbn-ts/language-common/src/passwords.json' with { type: 'json' }

const common = new Set((passwords as string[]).filter((password) => password.length >= 8))

/** Whether a password, in lower case, is among some 18,000 of the commonest (OWASP ASVS 6.2.4 asks for 3,000). */
export function isCommonPassword(lowerCase: string): boolean {
  return common.has(lowerCase)
}
