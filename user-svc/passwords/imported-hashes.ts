/** Hashes of other systems that are not bcrypt: argon2, scrypt and PBKDF2, in the forms in which those systems export them. */

import {
  argon2 as argon2Callback,
  createCipheriv,
  pbkdf2 as pbkdf2Callback,
  scrypt as scryptCallback,
  timingSafeEqual
} from 'node:crypto'
import { promisify } from 'node:util'

const argon2 = promisify(argon2Callback)
const pbkdf2 = promisify(pbkdf2Callback)
const scrypt = promisify<string, Buffer, number, Parameters<typeof scryptCallback>[3], Buffer>(scryptCallback)

export interface ImportedHash {
  scheme: string
  /** The estimated work, in rounds of bcrypt that take as long. */
  rounds: number
  /** The memory of one computation. */
  memoryBytes: number
  verify(password: string): Promise<boolean>
}

type Parser = (match: RegExpExecArray) => ImportedHash | undefined

// Standard base64 with or without padding; passlib writes `.` for `+`.
const base64 = '([A-Za-z0-9+/.]{1,256}={0,2})'
const bytesOf = (text = '') => Buffer.from(text.replaceAll('.', '+'), 'base64')
const number = '(\\d{1,10})'

// Measured together on one machine. They hold within a factor of 1.5; a processor without SHA instructions is slower at SHA-256.
const argon2KibPerRound = 96
const scryptBlocksPerRound = 192
const digests: Record<string, { bytes: number; iterationsPerRound: number }> = {
  sha1: { bytes: 20, iterationsPerRound: 360 },
  sha224: { bytes: 28, iterationsPerRound: 360 },
  sha256: { bytes: 32, iterationsPerRound: 360 },
  sha384: { bytes: 48, iterationsPerRound: 108 },
  sha512: { bytes: 64, iterationsPerRound: 108 }
}

const isEqual = (a: Buffer, b: Buffer) => a.length === b.length && timingSafeEqual(a, b)
const hasLength = ({ length }: Buffer, min: number, max: number) => length >= min && length <= max

function argon2Hash([, scheme, m, t, p, salt, hash]: RegExpExecArray): ImportedHash | undefined {
  const [memory, passes, parallelism] = [Number(m), Number(t), Number(p)]
  const [nonce, expected] = [bytesOf(salt), bytesOf(hash)]
  const isValid = parallelism >= 1 && parallelism <= 255 && passes >= 1 && memory >= 8 * parallelism
  if (!isValid || !hasLength(nonce, 8, 64) || !hasLength(expected, 16, 128)) return undefined
  return {
    scheme: scheme as string,
    // The first pass also touches new memory.
    rounds: (memory * (passes + 1)) / argon2KibPerRound,
    memoryBytes: memory * 1024,
    async verify(message) {
      const parameters = { message, nonce, parallelism, tagLength: expected.length, memory, passes }
      return isEqual(await argon2(scheme as 'argon2id', parameters), expected)
    }
  }
}

interface ScryptParameters {
  cost: number
  blockSize: number
  parallelization: number
}

/** @param finish computes the stored bytes from the derived key, if they are not the key itself */
function scryptHash(
  { cost, blockSize, parallelization }: ScryptParameters,
  salt: Buffer,
  expected: Buffer,
  { form = 'NFC', keyBytes = expected.length, finish = (key: Buffer) => key } = {}
): ImportedHash | undefined {
  const isPowerOfTwo = cost >= 2 && cost <= 2 ** 31 && Number.isInteger(Math.log2(cost))
  // RFC 7914, 2
  if (!isPowerOfTwo || cost >= 2 ** (16 * blockSize)) return undefined
  if (blockSize < 1 || parallelization < 1 || blockSize * parallelization >= 2 ** 20) return undefined
  if (!hasLength(salt, 1, 256) || !hasLength(expected, 16, 256)) return undefined
  const memoryBytes = 128 * blockSize * (cost + parallelization)
  const options = { cost, blockSize, parallelization, maxmem: 2 * memoryBytes }
  return {
    scheme: 'scrypt',
    rounds: (cost * blockSize * parallelization) / scryptBlocksPerRound,
    memoryBytes: 128 * blockSize * cost,
    verify: async (password) =>
      isEqual(finish(await scrypt(password.normalize(form), salt, keyBytes, options)), expected)
  }
}

/** `ln` is the binary logarithm in PHC strings, and the number itself in Kratos, where it is 1,024 or more. */
const costOf = (ln: string | undefined) => (Number(ln) < 64 ? 2 ** Number(ln) : Number(ln))

const scryptParameters = (ln?: string, r?: string, p?: string): ScryptParameters => {
  return { cost: costOf(ln), blockSize: Number(r), parallelization: Number(p) }
}

/** Firebase encrypts the project's signer key with the derived key. */
function firebaseHash(
  parameters: ScryptParameters,
  parts: Record<'salt' | 'separator' | 'signerKey' | 'hash', string | undefined>
): ImportedHash | undefined {
  const salt = Buffer.concat([bytesOf(parts.salt), bytesOf(parts.separator)])
  const finish = (key: Buffer) => createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(bytesOf(parts.signerKey))
  return scryptHash(parameters, salt, bytesOf(parts.hash), { keyBytes: 32, finish })
}

function pbkdf2Hash(digest: string, iterations: number, salt: Buffer, expected: Buffer): ImportedHash | undefined {
  const properties = digests[digest]
  if (properties === undefined || iterations < 1) return undefined
  if (!hasLength(salt, 1, 256) || !hasLength(expected, 16, 128)) return undefined
  const blocks = Math.ceil(expected.length / properties.bytes)
  return {
    scheme: 'pbkdf2',
    rounds: (iterations * blocks) / properties.iterationsPerRound,
    memoryBytes: 0,
    verify: async (password) => isEqual(await pbkdf2(password, salt, iterations, expected.length, digest), expected)
  }
}

const parsers: [form: string, parse: Parser][] = [
  // PHC strings, and Django's, which have the prefix `argon2`.
  [`(?:argon2)?\\$(argon2(?:id|i|d))\\$v=19\\$m=${number},t=${number},p=${number}\\$${base64}\\$${base64}`, argon2Hash],
  [
    // PHC strings (passlib) and Kratos.
    `\\$scrypt\\$ln=${number},r=${number},p=${number}\\$${base64}\\$${base64}`,
    ([, ln, r, p, salt, hash]) => scryptHash(scryptParameters(ln, r, p), bytesOf(salt), bytesOf(hash))
  ],
  [
    // Django
    `scrypt\\$${number}\\$([\\x21-\\x23\\x25-\\x7e]{1,128})\\$${number}\\$${number}\\$${base64}`,
    ([, n, salt = '', r, p, hash]) =>
      scryptHash({ ...scryptParameters('0', r, p), cost: Number(n) }, Buffer.from(salt), bytesOf(hash))
  ],
  [
    // better-auth: the salt is the text of its digits.
    '([0-9a-f]{32}):([0-9a-f]{128})',
    ([, salt = '', hash = '']) => {
      const parameters = { cost: 16_384, blockSize: 16, parallelization: 1 }
      return scryptHash(parameters, Buffer.from(salt), Buffer.from(hash, 'hex'), { form: 'NFKC' })
    }
  ],
  [
    // GoTrue
    `\\$fbscrypt\\$v=1,n=${number},r=${number},p=${number}(?:,ss=${base64})?,sk=${base64}\\$${base64}\\$${base64}`,
    ([, n, r, p, separator, signerKey, salt, hash]) =>
      firebaseHash(scryptParameters(n, r, p), { salt, separator, signerKey, hash })
  ],
  [
    // Kratos
    `\\$firescrypt\\$ln=${number},r=${number},p=${number}\\$${base64}\\$${base64}\\$${base64}\\$${base64}`,
    ([, ln, r, p, salt, hash, separator, signerKey]) =>
      firebaseHash(scryptParameters(ln, r, p), { salt, separator, signerKey, hash })
  ],
  [
    // passlib, where SHA-1 has no name, and Kratos.
    `\\$pbkdf2(?:-(sha\\d{1,3}))?\\$(?:i=)?${number}(?:,l=\\d{1,3})?\\$${base64}\\$${base64}`,
    ([, digest = 'sha1', iterations, salt, hash]) =>
      pbkdf2Hash(digest, Number(iterations), bytesOf(salt), bytesOf(hash))
  ],
  [
    // Django
    `pbkdf2_(sha1|sha256)\\$${number}\\$([\\x21-\\x23\\x25-\\x7e]{1,128})\\$${base64}`,
    ([, digest = '', iterations, salt = '', hash]) =>
      pbkdf2Hash(digest, Number(iterations), Buffer.from(salt), bytesOf(hash))
  ]
]

const compiled = parsers.map(([form, parse]) => ({ pattern: new RegExp(`^${form}$`), parse }))

/** Parses a hash without computing anything; returns undefined if its form or a parameter is not supported. */
export function parseImportedHash(stored: string): ImportedHash | undefined {
  for (const { pattern, parse } of compiled) {
    const match = pattern.exec(stored)
    if (match) return parse(match)
  }
  return undefined
}
