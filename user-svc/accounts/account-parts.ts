/** The parts that the flows of accounts use, and the result of a registration or login. */

import type { Session } from '#gen/session/v1/session_pb.ts'
import type { Database } from '../database.ts'
import type { HashQueue } from '../passwords/hash-queue.ts'
import type { PasswordHashes } from '../passwords/password-hashes.ts'
import type { users } from '../schema.ts'
import type { SessionClient } from '../session-client.ts'

export interface AccountParts {
  db: Database
  passwords: PasswordHashes
  hashQueue: HashQueue
  sessionClient: SessionClient
  /** In code points. */
  minPasswordLength: number
}

/** The row of an account. */
export type User = typeof users.$inferSelect

export interface OpenedSession {
  session: Session
  token: string
}

export interface LoggedIn extends OpenedSession {
  user: Pick<User, 'id' | 'email' | 'createdAt'>
}
