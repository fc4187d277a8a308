/** Passwords: which are accepted, how they are hashed, and how a stored hash of any age is checked. */

import { createHmac, randomBytes } from 'node:crypto'
import { hash as bcryptHash, verify as bcryptVerify } from '@node-rs/bcrypt'
import { isCommonPassword } from './common-passwords.ts'

/** The rules for passwords and their hashes. */
export interface PasswordRules {
  /** bcrypt cost of new hashes. */
  cost: number
  /** In code points. */
  minLength: number
  /** `name:base64`, the newest first. */
  peppers: string[]
}

const maxLength = 256
// A planted hash of cost 18 would hold a thread for 13 seconds.
const maxStoredCost = 14
const serviceName = 'auth-backend'

// `hs384:<pepper>:<bcrypt>`: bcrypt over base64 of HMAC-SHA-384, 64 bytes, so that nothing is cut at 72
// (OWASP Password Storage Cheat Sheet). The pepper `-` stands for a fixed label instead of a secret.
const ownHash = /^hs384:([a-z0-9]{1,16}|-):(\$2b\$(\d\d)\$[./A-Za-z0-9]{53})$/
// A hash that was brought along from another system: bcrypt over the password itself.
const plainHash = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/

/** A stored hash that cannot be used: damaged, planted, or made with a pepper that is no longer configured. */
export class UnusableHashError extends TypeError {
  override name = 'UnusableHashError'
}

/** About how long a hash of a cost takes on today's processors, in milliseconds. */
export function usualHashMs(cost: number): number {
  return 250 * 2 ** (cost - 12)
}

/** The password in the one form that is hashed (NFC), or nothing if no account can have it. */
export function normalizePassword(written: string): string | undefined {
  if (!written.isWellFormed() || written.includes('\0')) return undefined
  const password = written.normalize('NFC')
  return [...password].length <= maxLength ? password : undefined
}

/** What is wrong with a password for a new account, or nothing. */
export function passwordViolation(written: string, email: string, minLength: number): string | undefined {
  const password = normalizePassword(written)
  const lengths = `${minLength} to ${maxLength} characters`
  if (password === undefined) return `must be ${lengths} of well-formed Unicode without NUL`
  if ([...password].length < minLength) return `is too short: ${lengths} are accepted`
  const lower = password.toLowerCase()
  if (isCommonPassword(lower) || lower === serviceName) return 'is one of the commonest: choose another'
  if (lower === email || lower === email.split('@')[0]) return 'must not be the e-mail address'
  return undefined
}

interface ParsedHash {
  pepper: string | undefined
  bcrypt: string
  cost: number
}

function parseHash(stored: string): ParsedHash {
  const own = ownHash.exec(stored)
  const parsed = own
    ? { pepper: own[1], bcrypt: own[2] as string, cost: Number(own[3]) }
    : { pepper: undefined, bcrypt: stored, cost: Number(plainHash.exec(stored)?.[1]) }
  if (!(parsed.cost >= 4 && parsed.cost <= maxStoredCost)) throw new UnusableHashError('the stored hash is malformed')
  return parsed
}

/** Hashes and checks passwords by a set of rules. */
export type Passwords = ReturnType<typeof createPasswords>

/** @param observe told of each bcrypt computation how long it took, and its cost */
export function createPasswords(rules: PasswordRules, observe: (seconds: number, cost: number) => void) {
  const keys = new Map<string, Buffer | string>([['-', `${serviceName} password`]])
  for (const entry of rules.peppers) {
    const [name, secret] = entry.split(':') as [string, string]
    keys.set(name, Buffer.from(secret, 'base64'))
  }
  const newest = rules.peppers[0]?.split(':')[0] ?? '-'
  // A hash that no password has: salt and digest are random text of the right form.
  const decoy = (cost: number) => `$2b$${String(cost).padStart(2, '0')}$${bcryptText(21)}u${bcryptText(30)}u`
  // What a failed check costs at least: as much as the dearest hash that has been seen, should the cost once have been higher.
  let failureCost = rules.cost

  /**
   * One computation, which does not begin for a caller that has disconnected. One that has begun settles when it ends:
   * given a signal, @node-rs/bcrypt rejects at once and computes on, so a thread that is in use would look free.
   */
  async function compute<T>(cost: number, signal: AbortSignal, bcrypt: () => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    const startedAt = performance.now()
    const result = await bcrypt()
    observe((performance.now() - startedAt) / 1000, cost)
    return result
  }

  function bcryptInput(password: string, pepper: string): string {
    const key = keys.get(pepper)
    if (key === undefined) throw new UnusableHashError('the pepper of the stored hash is not configured')
    return createHmac('sha384', key).update(password, 'utf8').digest('base64')
  }

  /** The hash to store of a password that was accepted. */
  async function hash(written: string, signal: AbortSignal): Promise<string> {
    const input = bcryptInput(written.normalize('NFC'), newest)
    const bcrypt = await compute(rules.cost, signal, () => bcryptHash(input, { cost: rules.cost }))
    return `hs384:${newest}:${bcrypt}`
  }

  /** The work of one check that fails, so that an account that does not exist takes as long as one that does. */
  async function pretend(password: string, signal: AbortSignal): Promise<void> {
    const input = bcryptInput(password, newest)
    await compute(failureCost, signal, () => bcryptVerify(input, decoy(failureCost)))
  }

  /** A failed check of a cheaper hash is made as expensive as the others: 2^c + 2^c + 2^(c+1) + … = 2^cost. */
  async function topUp(password: string, fromCost: number, signal: AbortSignal): Promise<void> {
    for (let cost = fromCost; cost < failureCost; cost++) {
      await compute(cost, signal, () => bcryptVerify(bcryptInput(password, newest), decoy(cost)))
    }
  }

  return {
    hash,

    /**
     * Checks a password against a stored hash, or against nothing at the same price.
     *
     * @returns whether it matches, and whether the hash should be made anew
     * @throws {UnusableHashError} when the stored hash cannot be used, at the same price too
     */
    async check(
      written: string,
      stored: string | undefined,
      signal: AbortSignal
    ): Promise<{ matches: boolean; stale: boolean }> {
      const password = normalizePassword(written)
      if (password === undefined || stored === undefined) {
        await pretend(password ?? 'no account has this password', signal)
        return { matches: false, stale: false }
      }
      let parsed: ParsedHash
      let input: string
      try {
        parsed = parseHash(stored)
        input = parsed.pepper === undefined ? password : bcryptInput(password, parsed.pepper)
      } catch (error) {
        await pretend(password, signal)
        throw error
      }
      failureCost = Math.max(failureCost, parsed.cost)
      // bcrypt itself would cut a password at 72 bytes, so that longer ones with the same start match too.
      const cut = parsed.pepper === undefined && Buffer.byteLength(input) > 72
      const verified = await compute(parsed.cost, signal, () => bcryptVerify(input, parsed.bcrypt))
      const matches = verified && !cut
      if (!matches) await topUp(password, parsed.cost, signal)
      return { matches, stale: parsed.pepper !== newest || parsed.cost !== rules.cost }
    }
  }
}

function bcryptText(length: number): string {
  return randomBytes(length).toString('base64').replaceAll('+', '.').slice(0, length)
}
