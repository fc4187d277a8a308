/** The parts of responses that several routes answer: accounts and sessions. */

import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError } from '@connectrpc/connect'
import type { Session } from '#gen/session/v1/session_pb.ts'
import type { User } from '#gen/user/v1/user_pb.ts'

/** @throws ConnectError `internal` if the reply of user-svc is incomplete */
export function userBody(user: User | undefined) {
  if (!user?.id) throw incomplete()
  const { id, email, emailVerified = false, createdAt } = user
  return { id, email, emailVerified, createdAt: timeText(createdAt) }
}

/** @throws ConnectError `internal` if the reply of user-svc is incomplete */
export function newSessionBody({ session, token }: { session?: Session | undefined; token: string }) {
  if (!session?.id || !token) throw incomplete()
  return { id: session.id, token, createdAt: timeText(session.createdAt), expiresAt: timeText(session.expiresAt) }
}

/** A session in a list. */
export function listedSessionBody({ id, createdAt, lastSeenAt, expiresAt, userAgent, current }: Session) {
  const times = { createdAt: timeText(createdAt), lastSeenAt: timeText(lastSeenAt), expiresAt: timeText(expiresAt) }
  return { id, ...times, userAgent, current }
}

function timeText(timestamp: Timestamp | undefined): string {
  if (timestamp === undefined) throw new ConnectError('a time is missing in a reply', Code.Internal)
  return new Date(timestampMs(timestamp)).toISOString()
}

const incomplete = () => new ConnectError('incomplete reply of a service', Code.Internal)
