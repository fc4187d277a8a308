/** Hashes passwords, and checks them against stored hashes of any age; every failed check does the same work. */

import { createHmac, randomBytes } from 'node:crypto'
import { hash as bcryptHash, verify as bcryptVerify } from '@node-rs/bcrypt'
import { normalizePassword, serviceName } from './password-rules.ts'
import { parseStoredHash, type StoredHash, TooCostlyHashError, UnusableHashError } from './stored-hash.ts'

export interface HashRules {
  /** bcrypt cost of new hashes. */
  cost: number
  /** `name:base64`, the newest first. */
  peppers: string[]
}

// The lowest cost of bcrypt.
const minCost = 4

/** How long a hash of a cost takes on a processor of 2026, in milliseconds; the first estimate of the hash queue. */
export function usualHashMs(cost: number): number {
  return 250 * 2 ** (cost - 12)
}

/** A well-formed hash of random salt and digest, which no password has. */
function decoyHash(cost: number): string {
  const bcryptText = (length: number) => randomBytes(length).toString('base64').replaceAll('+', '.').slice(0, length)
  return `$2b$${String(cost).padStart(2, '0')}$${bcryptText(21)}u${bcryptText(30)}u`
}

export class PasswordHashes {
  readonly #cost: number
  readonly #keys = new Map<string, Buffer | string>([['-', `${serviceName} password`]])
  readonly #newestPepper: string
  readonly #observe: (seconds: number, cost: number) => void
  /** The bcrypt cost of every failed check: at least that of all hashes seen, in case the configured cost was higher before. */
  #failureCost: number

  /** @param observe receives the duration of each computation, and the bcrypt cost that it corresponds to */
  constructor({ cost, peppers }: HashRules, observe: (seconds: number, cost: number) => void) {
    for (const entry of peppers) {
      const [name, secret] = entry.split(':') as [string, string]
      this.#keys.set(name, Buffer.from(secret, 'base64'))
    }
    this.#cost = cost
    this.#newestPepper = peppers[0]?.split(':')[0] ?? '-'
    this.#observe = observe
    this.#failureCost = cost
  }

  /** Hashes a password that meets the rules, for storage. */
  async hash(written: string, signal: AbortSignal): Promise<string> {
    const input = this.#bcryptInput(written.normalize('NFC'), this.#newestPepper)
    const bcrypt = await this.#compute(this.#cost, signal, () => bcryptHash(input, { cost: this.#cost }))
    return `hs384:${this.#newestPepper}:${bcrypt}`
  }

  /**
   * Checks a password against a stored hash, or does the same work if there is none.
   *
   * @returns whether it matches, and whether the hash should be renewed
   * @throws {UnusableHashError} if the stored hash cannot be used, after the same work
   */
  async check(
    written: string,
    stored: string | undefined,
    signal: AbortSignal
  ): Promise<{ matches: boolean; stale: boolean }> {
    const password = normalizePassword(written)
    if (password === undefined || stored === undefined) {
      await this.#checkDecoy(password ?? 'no account has this password', signal)
      return { matches: false, stale: false }
    }
    let parsed: StoredHash
    let input: string
    try {
      parsed = parseStoredHash(stored)
      input = parsed.pepper === undefined ? password : this.#bcryptInput(password, parsed.pepper)
    } catch (error) {
      await this.#checkDecoy(password, signal)
      throw error
    }
    const { rounds } = parsed
    const cost = Math.log2(rounds)
    let matches: boolean
    try {
      matches = await this.#compute(cost, signal, () => parsed.verify(input))
    } catch (error) {
      signal.throwIfAborted()
      await this.#checkDecoy(password, signal)
      throw new UnusableHashError('the stored hash cannot be computed', { cause: error })
    }
    this.#failureCost = Math.max(this.#failureCost, Math.ceil(cost))
    if (!matches) await this.#topUp(password, rounds, signal)
    return { matches, stale: parsed.pepper !== this.#newestPepper || cost !== this.#cost }
  }

  /** Why a hash of another system cannot be stored, or nothing. */
  importProblem(stored: string): 'HASH_UNSUPPORTED' | 'HASH_TOO_COSTLY' | undefined {
    try {
      const { pepper } = parseStoredHash(stored)
      return pepper === undefined || this.#keys.has(pepper) ? undefined : 'HASH_UNSUPPORTED'
    } catch (error) {
      if (error instanceof TooCostlyHashError) return 'HASH_TOO_COSTLY'
      if (error instanceof UnusableHashError) return 'HASH_UNSUPPORTED'
      throw error
    }
  }

  #bcryptInput(password: string, pepper: string): string {
    const key = this.#keys.get(pepper)
    if (key === undefined) throw new UnusableHashError('the pepper of the stored hash is not configured')
    return createHmac('sha384', key).update(password, 'utf8').digest('base64')
  }

  /**
   * Runs one computation, unless the caller has disconnected. A running one settles when it ends: with a `signal`,
   * @node-rs/bcrypt 2.0 rejects at once and computes on, so a busy thread would count as free. No upstream issue known. Remove when it rejects
   * after the computation.
   */
  async #compute<T>(cost: number, signal: AbortSignal, compute: () => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    const startedAt = performance.now()
    const result = await compute()
    this.#observe((performance.now() - startedAt) / 1000, cost)
    return result
  }

  /** The work of a failed check, so that an unknown account takes as long as a known one. */
  async #checkDecoy(password: string, signal: AbortSignal): Promise<void> {
    const input = this.#bcryptInput(password, this.#newestPepper)
    await this.#compute(this.#failureCost, signal, () => bcryptVerify(input, decoyHash(this.#failureCost)))
  }

  /** Adds the missing work to the failed check of a cheaper hash, in parts that are powers of two. */
  async #topUp(password: string, rounds: number, signal: AbortSignal): Promise<void> {
    const input = this.#bcryptInput(password, this.#newestPepper)
    const missing = 2 ** this.#failureCost - Math.round(rounds)
    for (let cost = minCost; cost <= this.#failureCost; cost++) {
      if (Math.floor(missing / 2 ** cost) % 2 === 0) continue
      await this.#compute(cost, signal, () => bcryptVerify(input, decoyHash(cost)))
    }
  }
}
