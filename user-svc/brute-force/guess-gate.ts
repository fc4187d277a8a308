/**
 * The gate in front of each comparison of a password: bounds the consecutive failures of an account. A refused guess is
 * compared with a decoy, so its response and its work are those of a wrong password.
 */

import { createHmac } from 'node:crypto'
import { overloaded } from '#common/errors/connect-errors.ts'
import { fairNetworkOf } from '#common/network/addresses.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { callEngine } from '#common/time/engine-call.ts'
import { atLeastMs } from '../least-duration.ts'
import type { users } from '../schema.ts'
import {
  classOf,
  countOf,
  type GuessClass,
  type GuessRows,
  type GuessSource,
  isBusy,
  maxGuesses,
  maxGuessesPerSource
} from './guess-rows.ts'

/** A guess at the password of an account. */
export interface Guess {
  /** The canonical address. */
  email: string
  /** Missing if no account has the address, or if the account counts as unknown. */
  user: Pick<typeof users.$inferSelect, 'id' | 'passwordHash'> | undefined
  /** The id of the account for the log, also if the account counts as unknown. */
  userId: string | undefined
  /** The network of the client; missing if the caller did not name it. */
  network: string | undefined
  /** The id of the client's device, if it has a valid token of the account. */
  device: string | undefined
}

export interface ReservedGuess {
  user: Guess['user']
  network: string | undefined
  /** Whether its hash has the class of known devices: a refused guess, and one beyond the five of the device, has not. */
  isKnownDevice: boolean
  isRefused: boolean
  /** The password was not compared. */
  release(): void
  /** The password was correct. */
  succeed(): Promise<void>
  /**
   * The password was wrong. No caller learns that before it is recorded.
   *
   * @throws ConnectError `unavailable` if it cannot be recorded
   */
  fail(): Promise<void>
  /** The password was compared, or may have been, and the caller gets another error. */
  abandon(): void
}

export interface GuessGate {
  /** @throws ConnectError `unavailable` while PostgreSQL is down, or too many concurrent guesses have no result yet */
  reserve(guess: Guess, call: Call): Promise<ReservedGuess>
  /** The key of an address in the table of counts; undefined if the gate is off. */
  keyOf(email: string): Promise<string | undefined>
}

/** Why a guess was refused: five of its network were wrong, or the bounds of the account are reached. */
export type RefusalReason = 'network' | 'account'

/** Receives what the gate counts. */
export interface GuessObserver {
  onAdmitted(bound: GuessClass): void
  onRefused(reason: RefusalReason): void
  onBoundReached(bound: GuessClass): void
}

// An earlier version, which may run beside this one, has entries with 16 digits of the same digests, and finds its own only.
// This version counts these too: its digits must stay the first ones of the earlier entries.
const digestLength = 8
// Longer than a hash takes.
const resultWaitMs = 300
const maxAttempts = 6
// Longer than the statements take on an idle database. With a hundred guesses in the row, they take 0.2 to 0.4 ms longer in all.
// By the system's clock, as the observer of a response measures.
const leastMs = { reserve: 5, fail: 3 }

const noCount = { release() {}, async succeed() {}, async fail() {}, abandon() {} }
/** An entry of no row: the statement that records it changes nothing, and takes its time. */
const refusedEntry = 'refused'

/** A gate that refuses nothing. */
export const openGate: GuessGate = {
  keyOf: async () => undefined,
  reserve: async (guess) => ({
    network: guess.network,
    isKnownDevice: guess.device !== undefined,
    user: guess.user,
    isRefused: false,
    ...noCount
  })
}

export function createGuessGate(rows: GuessRows, observer: GuessObserver, clock: Clock = systemClock): GuessGate {
  let reading: Promise<Buffer> | undefined

  function readSecret(): Promise<Buffer> {
    reading ??= rows.readSecret().catch((error) => {
      reading = undefined
      throw error
    })
    return reading
  }

  const keyFrom = (secret: Buffer, email: string) => digest(secret, 'address', email)

  /** Differs between accounts, so that the rows do not show that two accounts share a network. */
  function sourcesOf(secret: Buffer, { email, network, device }: Guess) {
    const short = (kind: string, value: string | undefined) =>
      value === undefined ? undefined : digest(secret, kind, email, value).slice(0, digestLength)
    const block = network && fairNetworkOf(network)
    return { network: short('network', network), block: short('network', block), device: short('device', device) }
  }

  /** Waits for the results of concurrent guesses while they alone refuse this one: it may have the correct password. */
  async function reserveRow(key: string, sources: GuessSource, guess: Guess, call: Call) {
    for (let attempts = 1; ; attempts += 1) {
      const reservation = await reserveOnce(key, sources, guess, call)
      if (reservation.entry !== undefined || !isBusy(reservation.guesses, sources)) return reservation
      if (attempts === maxAttempts) throw overloaded(1)
      await clock.sleep(resultWaitMs, call.signal)
    }
  }

  /** A call can end before the statement, which cannot be cancelled: the guess is then released when it is reserved. */
  async function reserveOnce(key: string, sources: GuessSource, { user }: Guess, call: Call) {
    const reserving = rows.reserve(key, sources, user !== undefined)
    try {
      return await callEngine(call.signal, reserving, true)
    } catch (error) {
      const releasing = () =>
        reserving.then(({ entry }) => (entry === undefined ? undefined : rows.release(key, entry, sources)))
      if (call.signal.aborted) void attempt(releasing(), call, 'failed to release a guess')
      throw error
    }
  }

  return {
    keyOf: async (email) => keyFrom(await readSecret(), email),

    async reserve(guess, call) {
      const secret = await readSecret()
      const key = keyFrom(secret, guess.email)
      const sources = sourcesOf(secret, guess)
      const { entry, guesses } = await atLeastMs(leastMs.reserve, reserveRow(key, sources, guess, call))
      if (entry === undefined) {
        const ofNetwork = countOf(guesses, 'any', sources.network)
        const isNetworkBound = sources.network !== undefined && ofNetwork >= maxGuessesPerSource
        observer.onRefused(isNetworkBound ? 'network' : 'account')
        const fail = () => callEngine(call.signal, atLeastMs(leastMs.fail, rows.fail(key, refusedEntry)))
        return { network: guess.network, isKnownDevice: false, user: undefined, isRefused: true, ...noCount, fail }
      }
      observer.onAdmitted(classOf(entry))
      /** Without the signal of the call: a client that disconnects would suppress the report of the bound. */
      const countFailure = async () => {
        await rows.fail(key, entry)
        reportBound(classOf(entry), guesses, guess, call)
      }
      return {
        network: guess.network,
        isKnownDevice: classOf(entry) === 'device',
        user: guess.user,
        isRefused: false,
        release: () => void attempt(rows.release(key, entry, sources), call, 'failed to release a guess'),
        succeed: () => attempt(rows.forgive(key, entry), call, 'failed to reset the count of wrong passwords'),
        fail: () => callEngine(call.signal, atLeastMs(leastMs.fail, countFailure())),
        abandon: () => void attempt(countFailure(), call, 'failed to count a guess')
      }
    }
  }

  function reportBound(kind: GuessClass, guesses: string[], { userId }: Guess, call: Call): void {
    if (countOf(guesses, kind) < maxGuesses[kind]) return
    observer.onBoundReached(kind)
    const line = {
      event: 'authn_login_fail_max',
      reason: kind,
      count: guesses.length,
      ...(userId && { userId })
    }
    call.log.warn(line, 'reached a bound of consecutive wrong passwords of an account')
  }
}

/** The count is then wrong by one guess for a minute, which no caller waits for. */
async function attempt(work: Promise<void>, call: Call, message: string): Promise<void> {
  await work.catch((error) => call.log.warn({ event: 'guess_count_failed', err: error }, message))
}

function digest(secret: Buffer, ...fields: string[]): string {
  return createHmac('sha256', secret).update(JSON.stringify(fields)).digest('hex')
}
