/**
 * Checks the password of an account in the hash queue, behind the gate on guesses. An account without a password and a
 * refused guess cost the same work as any other check.
 */

import { tooManyRequests } from '#common/errors/connect-errors.ts'
import { fairNetworkOf } from '#common/network/addresses.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { isDeviceOf } from '../brute-force/device-tokens.ts'
import type { Guess, ReservedGuess } from '../brute-force/guess-gate.ts'
import type { Flow } from '../passwords/fair-queue.ts'
import { noPassword } from '../passwords/stored-hash.ts'
import { accountDisabled, wrongPassword } from './account-errors.ts'
import type { AccountParts, ClientOrigin, DeviceSession, OpenedSession, User } from './account-parts.ts'

type CheckParts = Pick<AccountParts, 'passwords' | 'hashQueue' | 'networks'>

// A longer text is no network; the length bounds the memory that callers can fill.
const maxNetworkLength = 64

function networkOf(client: ClientOrigin | undefined): string | undefined {
  return client?.network?.slice(0, maxNetworkLength) || undefined
}

interface GuessTarget {
  email: string
  user: Pick<User, 'id' | 'passwordHash' | 'sessionEpoch'> | undefined
  /** For the log, if the account counts as unknown. */
  userId?: string | undefined
}

/** For a caller that does not state when its limit ends. */
const limitSeconds = 60

/**
 * The guess of a client at the password of an address.
 *
 * @throws ConnectError `resource_exhausted` if the guess needs a valid device token and has none
 */
export function guessOf(
  { devices }: Pick<AccountParts, 'devices'>,
  { email, user, userId = user?.id }: GuessTarget,
  client: ClientOrigin | undefined
): Guess {
  const named = devices.read(client?.deviceToken)
  const device = isDeviceOf(named, user) ? named.id : undefined
  if (client?.deviceRequired && device === undefined) throw tooManyRequests(limitSeconds)
  return { email, user, userId, network: networkOf(client), device }
}

/** A session with a new token for the device that has proved to have the password of the account. */
export function withDevice(
  { devices }: Pick<AccountParts, 'devices'>,
  userId: string,
  opened: OpenedSession,
  client: ClientOrigin | undefined
): DeviceSession {
  const earlier = devices.read(client?.deviceToken)
  return { ...opened, deviceToken: devices.issue({ id: userId, sessionEpoch: opened.epoch }, earlier) }
}

/** The call with its place in the queue until its account is known: the token of a device of any account counts. */
export function beforeAccount(
  { devices, networks }: Pick<AccountParts, 'devices' | 'networks'>,
  call: Call,
  client: ClientOrigin | undefined
): Call & { flow: Flow } {
  const isKnownDevice = devices.read(client?.deviceToken) !== undefined
  return { ...call, flow: flowOf(networks, { network: networkOf(client), isKnownDevice }, call) }
}

/** The call with its share of the hashes, as that of a reserved guess. */
export function inQueue(
  { networks }: Pick<AccountParts, 'networks'>,
  call: Call,
  guess: Pick<ReservedGuess, 'network' | 'isKnownDevice'>
): Call & { flow: Flow } {
  return { ...call, flow: flowOf(networks, guess, call) }
}

/** A call that creates an account, with its share of the hashes: a token of an earlier account has no effect. */
export function withoutAccount(
  parts: Pick<AccountParts, 'networks'>,
  call: Call,
  client: ClientOrigin | undefined
): Call & { flow: Flow } {
  return inQueue(parts, call, { network: networkOf(client), isKnownDevice: false })
}

function flowOf(
  networks: AccountParts['networks'],
  { network, isKnownDevice }: Pick<ReservedGuess, 'network' | 'isKnownDevice'>,
  { caller }: Call
): Flow {
  if (network === undefined) return { class: isKnownDevice ? 'known' : 'clean', network: `caller ${caller}` }
  return { class: isKnownDevice ? 'known' : networks.classOf(network), network: fairNetworkOf(network) }
}

/**
 * Compares the password of a reserved guess, and records the result for the account and for the network.
 *
 * @returns whether the password matches, and whether the stored hash should be renewed
 */
export async function checkPassword(
  parts: CheckParts,
  guess: ReservedGuess,
  written: string,
  call: Call
): Promise<{ matches: boolean; stale: boolean }> {
  return comparePassword(parts, guess, written, call, (matches) => {
    if (guess.network !== undefined) parts.networks.record(guess.network, matches)
  })
}

/**
 * Compares the password of a reserved guess, and records the result for the account.
 *
 * @param onResult receives the result; a client that disconnects during the hash has failed
 */
export async function comparePassword(
  parts: CheckParts,
  guess: ReservedGuess,
  written: string,
  call: Call,
  onResult: (matches: boolean) => void = () => {}
): Promise<{ matches: boolean; stale: boolean }> {
  const { passwords, hashQueue } = parts
  const stored = guess.user?.passwordHash === noPassword ? undefined : guess.user?.passwordHash
  let isStarted = false
  let isDecided = false
  try {
    const result = await hashQueue.run('login', inQueue(parts, call, guess), () => {
      isStarted = true
      return passwords.check(written, stored, call.signal)
    })
    isDecided = true
    onResult(result.matches)
    await (result.matches ? guess.succeed() : guess.fail())
    return result
  } catch (error) {
    if (!isStarted) guess.release()
    else if (!isDecided) {
      guess.abandon()
      if (call.signal.aborted) onResult(false)
    }
    throw error
  }
}

/**
 * Requires the password of an account that the caller acts for.
 *
 * @param event names the log line of a rejection
 * @throws ConnectError `permission_denied` WRONG_PASSWORD, or ACCOUNT_DISABLED after a correct password
 */
export async function requirePassword(
  parts: CheckParts,
  { user, guess }: { user: User; guess: ReservedGuess },
  written: string,
  event: string,
  call: Call
): Promise<void> {
  const { matches } = await checkPassword(parts, guess, written, call)
  if (matches && user.disabledAt === null) return
  call.log.info({ event, userId: user.id, ...refusal(guess) }, 'rejected a password')
  throw matches ? accountDisabled() : wrongPassword()
}

/** The fields of the log line of a rejection. */
export function refusal({ isRefused }: ReservedGuess) {
  return isRefused ? { reason: 'guess_refused' } : {}
}
