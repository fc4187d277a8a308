/** Hashes passwords, and checks them against stored hashes of any age; every failed check does the same work. */

import { createHmac, randomBytes } from 'node:crypto'
import { hash as bcryptHash, verify as bcryptVerify } from '@node-rs/bcrypt'
import { normalizePassword, serviceName } from './password-rules.ts'

export interface HashRules {
  /** bcrypt cost of new hashes. */
  cost: number
  /** `name:base64`, the newest first. */
  peppers: string[]
}

// A planted hash of cost 18 would occupy a thread for 13 seconds.
const maxStoredCost = 14

// `hs384:<pepper>:<bcrypt>`: bcrypt over the base64 of an HMAC-SHA-384. These 64 bytes stay below bcrypt's limit of 72
// (OWASP Password Storage Cheat Sheet). The pepper `-` is a fixed label instead of a secret.
const ownHash = /^hs384:([a-z0-9]{1,16}|-):(\$2b\$(\d\d)\$[./A-Za-z0-9]{53})$/
// An imported hash of another system: bcrypt over the password itself.
const plainHash = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/

/** A stored hash cannot be used: it is damaged or planted, or its pepper is no longer configured. */
export class UnusableHashError extends TypeError {
  override name = 'UnusableHashError'
}

/** How long a hash of a cost takes on a processor of 2026, in milliseconds; the first estimate of the hash queue. */
export function usualHashMs(cost: number): number {
  return 250 * 2 ** (cost - 12)
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
  /** The cost of every failed check: the highest of all hashes seen, in case the configured cost was higher before. */
  #failureCost: number

  /** @param observe receives the duration and the cost of each bcrypt computation */
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
    let parsed: ParsedHash
    let input: string
    try {
      parsed = parseHash(stored)
      input = parsed.pepper === undefined ? password : this.#bcryptInput(password, parsed.pepper)
    } catch (error) {
      await this.#checkDecoy(password, signal)
      throw error
    }
    this.#failureCost = Math.max(this.#failureCost, parsed.cost)
    const verified = await this.#compute(parsed.cost, signal, () => bcryptVerify(input, parsed.bcrypt))
    // Plain bcrypt ignores all after 72 bytes, so a longer password with the same start would match.
    const isTruncated = parsed.pepper === undefined && Buffer.byteLength(input) > 72
    const matches = verified && !isTruncated
    if (!matches) await this.#topUp(password, parsed.cost, signal)
    return { matches, stale: parsed.pepper !== this.#newestPepper || parsed.cost !== this.#cost }
  }

  #bcryptInput(password: string, pepper: string): string {
    const key = this.#keys.get(pepper)
    if (key === undefined) throw new UnusableHashError('the pepper of the stored hash is not configured')
    return createHmac('sha384', key).update(password, 'utf8').digest('base64')
  }

  /**
   * Runs one bcrypt computation, unless the caller has disconnected. A running one settles when it ends: with a `signal`,
   * @node-rs/bcrypt 2.0 rejects at once and computes on, so a busy thread would count as free. No upstream issue known. Remove when it rejects
   * after the computation.
   */
  async #compute<T>(cost: number, signal: AbortSignal, bcrypt: () => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    const startedAt = performance.now()
    const result = await bcrypt()
    this.#observe((performance.now() - startedAt) / 1000, cost)
    return result
  }

  /** The work of a failed check, so that an unknown account takes as long as a known one. */
  async #checkDecoy(password: string, signal: AbortSignal): Promise<void> {
    const input = this.#bcryptInput(password, this.#newestPepper)
    await this.#compute(this.#failureCost, signal, () => bcryptVerify(input, decoyHash(this.#failureCost)))
  }

  /** Adds work to the failed check of a cheaper hash: 2^c + 2^c + 2^(c+1) + … = 2^failureCost. */
  async #topUp(password: string, fromCost: number, signal: AbortSignal): Promise<void> {
    const input = this.#bcryptInput(password, this.#newestPepper)
    for (let cost = fromCost; cost < this.#failureCost; cost++) {
      await this.#compute(cost, signal, () => bcryptVerify(input, decoyHash(cost)))
    }
  }
}
