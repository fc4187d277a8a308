/** Finds secrets that are no random text or bytes: words, sequences, repeats, zero bytes. */

import { distinctParts, repeatedPart } from './simple-secrets.ts'

const sampleWords =
  /change.?me|secret|example|sample|password|passwort|0123456789|qwerty|letmein|dev-|test-|token.?for/i

/** Why a token is no random one; undefined if it can be one. */
export function sampleProblem(value: string): string | undefined {
  // The encodings of random bytes have no digit and one case in 1 of 2,000 cases.
  const isSentence = value.length >= 24 && /^[a-z\W_]+$|^[A-Z\W_]+$/.test(value)
  return isSentence || isSample(value) ? 'is a sample value, which production does not allow' : undefined
}

/** Whether a text has words of samples, sequences, repeats or few distinct characters. */
export function isSample(value: string): boolean {
  const parts = distinctParts([...value.toLowerCase()])
  return (
    sampleWords.test(value) ||
    new Set(value).size < Math.min(10, value.length / 2) ||
    repeatedPart(value) !== undefined ||
    parts < value.length * 0.7
  )
}

/** Why the bytes of a key are not random. */
export function keyProblem(base64: string): string | undefined {
  const bytes = Buffer.from(base64, 'base64')
  const isText = bytes.every((byte) => byte >= 0x20 && byte < 0x7f)
  if (new Set(bytes).size < bytes.length / 2 && bytes.length <= 64 && !isText) return 'is no random key'
  if (distinctParts([...bytes].map((byte) => String.fromCharCode(byte))) < bytes.length * 0.7) return 'is no random key'
  return isText ? sampleProblem(bytes.toString('latin1')) : undefined
}
