/** The parts that the flows of accounts use, and the result of a registration or login. */

import type { MailOptions } from '#common/config/mail-section.ts'
import type { Session } from '#gen/session/v1/session_pb.ts'
import type { DeviceTokens } from '../brute-force/device-tokens.ts'
import type { GuessGate } from '../brute-force/guess-gate.ts'
import type { NetworkHistory } from '../brute-force/network-history.ts'
import type { Database } from '../database.ts'
import type { HashQueue } from '../passwords/hash-queue.ts'
import type { PasswordHashes } from '../passwords/password-hashes.ts'
import type { PasswordRules } from '../passwords/password-rules.ts'
import type { users } from '../schema.ts'
import type { SessionClient } from '../session-client.ts'

export interface AccountParts {
  db: Database
  passwords: PasswordHashes
  hashQueue: HashQueue
  guesses: GuessGate
  devices: DeviceTokens
  networks: NetworkHistory
  sessionClient: SessionClient
  passwordRules: PasswordRules
  /** A login needs a verified address. */
  requireVerifiedEmail: boolean
  /** No response shows whether an address is taken; needs `requireVerifiedEmail` and `mail`. */
  concealTaken: boolean
  /** Missing if the service sends no email. */
  mail?: MailParts | undefined
}

/** The client of a user, as the caller sees it. */
export interface ClientOrigin {
  network?: string | undefined
  deviceToken?: string | undefined
  /** The caller's limit of the network is reached: only a valid device token admits a guess. */
  deviceRequired?: boolean | undefined
}

/** The part of the section `mail` that requests for emails need. */
export type MailParts = Pick<MailOptions, 'keys'>

/** The row of an account. */
export type User = typeof users.$inferSelect

/** The part of an account that its owner sees. */
export type ShownUser = Pick<User, 'id' | 'email' | 'createdAt' | 'emailVerifiedAt'>

export interface OpenedSession {
  /** The epoch of the session. */
  epoch: bigint
  session: Session
  token: string
}

/** A new session and the token of its device, if the service issues any. */
export interface DeviceSession extends OpenedSession {
  deviceToken: string | undefined
}

export interface LoggedIn extends DeviceSession {
  user: ShownUser
}
