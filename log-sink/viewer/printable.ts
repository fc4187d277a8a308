/** Makes text harmless for a terminal. */

// Control characters, those that turn the direction of text or are not seen, halves of surrogate pairs, line ends.
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

/** The text with escapes in place of all characters that do more than to be seen. */
export function printable(text: string): string {
  return text.replace(unprintable, (character) => {
    const code = character.codePointAt(0) as number
    return code < 0x100 ? `\\x${hex(code, 2)}` : code < 0x10000 ? `\\u${hex(code, 4)}` : `\\u{${hex(code, 0)}}`
  })
}

/** A value as it stands after `key=`: as it is if it is one word, else as JSON. */
export function printableValue(value: unknown): string {
  const isWord = typeof value === 'string' && /^[^\s"=]+$/.test(value)
  return printable(isWord ? value : JSON.stringify(value))
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0')
}
