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
  /** The highest accepted bcrypt cost of stored hashes. */
  maxCost?: number
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
  readonly #maxCost: number | undefined
  readonly #observe: (seconds: number, cost: number) => void
  readonly #storedCost: () => number
  /** The highest cost of the hashes that were checked or imported: the last reading of all hashes may be older. */
  #seenCost: number

  /**
   * @param observe receives the duration of each computation, and the bcrypt cost that it corresponds to
   * @param storedCost the highest cost of all stored hashes, as far as known
   */
  constructor(
    { cost, peppers, maxCost }: HashRules,
    observe: (seconds: number, cost: number) => void,
    storedCost: () => number = () => 0
  ) {
    for (const entry of peppers) {
      const [name, secret] = entry.split(':') as [string, string]
      this.#keys.set(name, Buffer.from(secret, 'base64'))
    }
    this.#cost = cost
    this.#newestPepper = peppers[0]?.split(':')[0] ?? '-'
    this.#maxCost = maxCost
    this.#observe = observe
    this.#storedCost = storedCost
    this.#seenCost = cost
  }

  /** The bcrypt cost of every failed check. */
  get #failureCost(): number {
    return Math.max(this.#seenCost, this.#storedCost())
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
      parsed = parseStoredHash(stored, this.#maxCost)
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
    this.#seenCost = Math.max(this.#seenCost, Math.ceil(cost))
    if (!matches) await this.#topUp(password, rounds, signal)
    return { matches, stale: parsed.pepper !== this.#newestPepper || cost !== this.#cost }
  }

  /** Why a hash of another system cannot be stored, or nothing. From then on, failed checks cost as much as the hash. */
  importProblem(stored: string): 'HASH_UNSUPPORTED' | 'HASH_TOO_COSTLY' | undefined {
    try {
      const { pepper, rounds } = parseStoredHash(stored, this.#maxCost)
      if (pepper !== undefined && !this.#keys.has(pepper)) return 'HASH_UNSUPPORTED'
      this.#seenCost = Math.max(this.#seenCost, Math.ceil(Math.log2(rounds)))
      return undefined
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
    const cost = this.#failureCost
    await this.#compute(cost, signal, () => bcryptVerify(input, decoyHash(cost)))
  }

  /** Adds the missing work to the failed check of a cheaper hash, in parts that are powers of two. */
  async #topUp(password: string, rounds: number, signal: AbortSignal): Promise<void> {
    const input = this.#bcryptInput(password, this.#newestPepper)
    const failureCost = this.#failureCost
    const missing = 2 ** failureCost - Math.round(rounds)
    for (let cost = minCost; cost <= failureCost; cost++) {
      if (Math.floor(missing / 2 ** cost) % 2 === 0) continue
      await this.#compute(cost, signal, () => bcryptVerify(input, decoyHash(cost)))
    }
  }
}
