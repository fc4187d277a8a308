/** The form in which new passwords are compared with common ones and with words: spellings that differ little are equal. */

// Default_Ignorable_Code_Point: zero-width characters and the like.
const invisible = /\p{Default_Ignorable_Code_Point}/gu

/** Under NFKC, without case and invisible characters, trimmed (OWASP ASVS 6.2.4). Never hashed. */
export function foldPassword(written: string): string {
  return foldCase(written.normalize('NFKC')).normalize('NFKC').replaceAll(invisible, '').trim()
}

/** By way of upper case, as `ß` and `SS` fold to the same. */
const foldCase = (text: string) => text.toUpperCase().toLowerCase()
